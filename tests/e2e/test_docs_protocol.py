"""docs/PROTOCOL.md and the headers say the same: limits, message and operation types, numbers, fields, contexts and labels, in both
directions; and its worked example and its example of joining come out as written."""
import ast
import glob
import hashlib
import hmac
import os
import re

from lanyard import ROOT, tap, test


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def code(path):
    """A C source without comments."""
    return re.sub(r"/\*.*?\*/", " ", read(path), flags=re.S)


DOC = read("docs/PROTOCOL.md")
TEXT = re.sub(r"\s+", " ", DOC)                        # without line ends
SECTIONS = {m[1]: m[2] for m in re.finditer(r"^#{2,4} (.+?)\n(.*?)(?=^#{2,4} |\Z)", DOC, re.M | re.S)}


def rows(section, head):
    """The rows of the first table in a section whose header begins with `head`, as lists of cells without backquotes."""
    found = re.search(rf"^\|\s*{re.escape(head)}.*\n\|[-|]+\|\n((?:\|.*\n?)*)", SECTIONS[section], re.M)
    return [[c.strip().replace("`", "") for c in line.strip().strip("|").split("|")] for line in found[1].splitlines()] if found else []


def differ(doc, headers):
    """What only one side has, or both have differently."""
    return {k: (doc.get(k), headers.get(k)) for k in doc.keys() | headers.keys() if doc.get(k) != headers.get(k)}


# ---- C, as far as it is needed ----

def number(text, names):
    """The value of a constant expression of integers and earlier names."""
    text = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)[uUlL]*\b", r"\1", text)
    operations = {ast.Add: int.__add__, ast.Sub: int.__sub__, ast.Mult: int.__mul__, ast.LShift: int.__lshift__}

    def value(node):
        if isinstance(node, ast.Name):
            return names[node.id]
        if isinstance(node, ast.BinOp):
            return operations[type(node.op)](value(node.left), value(node.right))
        return node.value
    return value(ast.parse(text.strip(), mode="eval").body)


def defines(*paths):
    names = {}
    for path in paths:
        for name, text in re.findall(r"^#define\s+([A-Z]\w*)[ \t]+(\S.*)$", code(path), re.M):
            try:
                names[name] = number(text, names)
            except (SyntaxError, KeyError, AttributeError, ValueError):
                continue                             # not a number
    return names


def enumerated(path, prefix):
    """All enumerators of a header with that prefix, without it."""
    found = {}
    for body in re.findall(r"\benum\b[^{};]*\{([^}]*)\}", code(path)):
        value = 0
        for item in filter(None, map(str.strip, body.split(","))):
            name, _, given = map(str.strip, item.partition("="))
            value = int(given) if given else value
            if name.startswith(prefix):
                found[name[len(prefix):]] = value
            value += 1
    assert found, f"{path}: no {prefix}"
    return found


HEADERS = defines("proto/limits.h", "proto/record.h", "proto/merkle.h", "proto/msg.h", "proto/keys.h", "proto/block.h", "proto/pake.h")


# ---- numbers ----

@test
def every_limit_is_described_with_its_value():
    doc = {name: int(value) for name, value, _ in rows("Limits", "name")}
    same = r"LIMIT_\w+|RECORD_(MS|HLC|CAPS)_MAX|VEC_REQS|MERKLE_PROOF_MAX|MSG_\w+"
    headers = {k: v for k, v in HEADERS.items() if re.fullmatch(same, k)}
    assert len(headers) > 30, headers
    assert not differ(doc, headers), differ(doc, headers)


@test
def limits_in_the_text_have_their_values():
    limits = {k: v for k, v in HEADERS.items() if k.startswith(("LIMIT_", "MSG_", "RECORD_", "VEC_", "MERKLE_"))}
    unknown = {n for n in re.findall(r"`((?:LIMIT|MSG|RECORD|VEC|MERKLE)_\w+)`", DOC) if n not in limits}
    assert not unknown, unknown
    stated = re.findall(r"(?<!\w)(?<!\w\.)(\d+)(?= [\w ]{0,20}\(`(\w+)`\))", TEXT)
    wrong = [(n, name) for n, name in stated if name in limits and limits[name] != int(n)]
    assert len(stated) > 10 and not wrong, (len(stated), wrong)


@test
def numbers_of_messages():
    doc = {name: int(kind) for kind, name, *_ in rows("Messages", "type")}
    headers = {k: v for k, v in enumerated("proto/msg.h", "MSG_").items()}
    assert not differ(doc, headers), differ(doc, headers)
    titles = dict(re.findall(r"^#### (\w+) \((\d+)\)$", DOC, re.M))
    assert not differ({k: int(v) for k, v in titles.items()}, headers), titles


@test
def numbers_of_operations_errors_kinds_and_roles():
    doc = {name: int(kind) for kind, name, _ in rows("CTL", "type")}
    assert not differ(doc, enumerated("proto/record.h", "OP_")), differ(doc, enumerated("proto/record.h", "OP_"))
    doc = {name: int(kind) for kind, name, _ in rows("ERR (3)", "code")}
    assert not differ(doc, enumerated("proto/msg.h", "MSGERR_")), doc
    for sentence, prefix, section in (("Roles are", "ROLE_", "CTL"), ("Modes are", "REQUIRE_", "CTL")):
        doc = re.search(rf"{sentence} ([^.]*)\.", SECTIONS[section])[1]
        assert {n.upper(): int(v) for v, n in re.findall(r"(\d)\s(\w+)", doc)} == enumerated("proto/record.h", prefix), doc
    kinds = {"FILE": "file", "DIR": "directory", "SYMLINK": "symlink", "TOMBSTONE": "tombstone", "SNAPSHOT": "snapshot", "NOTE": "note"}
    stated = dict((r[0], r[2]) for r in rows("ENT", "field"))["kind"]
    assert stated == ", ".join(f"{v} {kinds[k]}" for k, v in enumerated("proto/record.h", "KIND_").items()), stated
    status = {n: int(v) for v, n in re.findall(r"(\d) \(`BLK_(\w+)`\)", TEXT)}
    assert status == enumerated("proto/msg.h", "BLK_"), status


@test
def sizes_and_ports():
    text = TEXT
    assert f"length (u32 LE)`, {HEADERS['BLOCK_REF']} bytes" in text
    assert f"40 + {HEADERS['SEAL_EXTRA']} bytes" in text and f"sealed: bin({40 + HEADERS['SEAL_EXTRA']})" in text
    assert f"at most {HEADERS['LIMIT_BODY'] // HEADERS['BLOCK_REF']}" in text
    assert f"sig: bin({HEADERS['SIG_LEN']})" in text
    assert f"{HEADERS['CODE_SYMBOLS']} symbols of Crockford" in text
    offset = re.search(r"JOIN_OFFSET (\d)", code("node/joiner_priv.h"))[1]
    assert f"| P + {offset} | ROUTER | joining" in text
    assert f"This document is protocol {HEADERS['PROTO_MAX']} " in text and HEADERS["PROTO_MIN"] == 1
    tries = re.search(r"INVITE_TRIES (\d)", code("node/inviter.h"))[1]
    assert f"An invite has {tries};" in text


@test
def classes_of_the_chunker():
    source, kib = code("store/chunk.c"), 1024
    unit = {"KIB": kib, "MIB": kib * kib}
    cells = re.findall(r"\.min = (\d+) \* (\w+), \.avg = (\d+) \* (\w+), \.max = (\d+) \* (\w+), "
                       r"\.mask_small = MASK\((\d+)\), \.mask_large = MASK\((\d+)\)", source)
    real = [[int(c[0]) * unit[c[1]], int(c[2]) * unit[c[3]], int(c[4]) * unit[c[5]], int(c[6]), int(c[7])] for c in cells]
    assert [[int(x) for x in row[2:]] for row in rows("Cutting", "class")] == real and len(real) == 3, real


# ---- fields ----

FIELDS = {"CARD": ("proto/record.c", "card"), "GENESIS": ("proto/record.c", "genesis"), "ADDR": ("proto/record.c", "address card"),
          "CTL": ("proto/record_ctl.c", "control record"), "HDR": ("proto/record_cs.c", "header"),
          "ENT": ("proto/record_entry.c", "entry"), "VEC": ("proto/record_vec.c", "vector")}


@test
def records_have_the_fields_that_are_listed():
    for title, (path, name) in FIELDS.items():
        opened = re.search(rf'field_open\(&f, "{name}", rec, len, (\w+), (\d+)\)|field_open\(&f, "{name}", data, len, (\w+), (\d+)\)', code(path))
        count = int(opened[2] or opened[4])
        table = rows(title, "field")
        assert len(table) == count, (title, len(table), count)
        limit = opened[1] or opened[3]
        local = defines("proto/limits.h", path) | HEADERS
        assert re.search(rf"\bat most {local[limit]}\b", re.sub(r"\s+", " ", SECTIONS[title]), re.I), (title, limit)
    members = int(re.search(r"mp_array_of\(m, (\d+)\);\s*if \(mp_u64\(m, 1\) != 1\)", code("proto/membership.c"))[1])
    assert len(rows("Step by step", "field")) == members


@test
def fields_of_records_are_named_as_in_the_code():
    wrong = []
    for title, (path, name) in FIELDS.items():
        source = code(path)
        for field, *_ in rows(title, "field"):
            known = {"format": "field_format", "owner": '"owner card"', "random": '"random"', "addrs": '"addr"'}.get(field, f'"{field}"')
            if field not in ("ctx", "except", "streams", "reqs", "attrs") and known not in source:
                wrong.append((title, field))
    assert not wrong, wrong


@test
def operations_have_the_fields_that_are_listed():
    table = dict(re.findall(r"\[OP_(\w+)\]\s*=\s*\{\s*(\d+),", code("proto/record_ctl.c")))
    for kind, name, fields in rows("CTL", "type"):
        listed = re.sub(r"`[^`]*`|\[[^\]]*\]", "", fields)
        assert 1 + len(listed.split(";")) == int(table[name]), (name, fields, table[name])


@test
def messages_have_the_fields_and_bodies_that_are_listed():
    kinds = re.findall(r'\[MSG_\w+\]\s*=\s*\{\s*"(\w+)",\s*(true|false),\s*(\d+),\s*(\w+)_read', code("proto/msg.c"))
    bodies = {name: body for _, name, body, _ in rows("Messages", "type")}
    assert len(kinds) == len(bodies), (len(kinds), len(bodies))
    source = code("proto/msg.c")
    for name, body, count, reader in kinds:
        section = f"{name} ({enumerated('proto/msg.h', 'MSG_')[name]})"
        table = rows(section, "field")
        assert len(table) == int(count), (name, len(table), count)
        assert bodies[name] == ("yes" if body == "true" else "no"), name
        assert ("Body:" in SECTIONS[section] or "body:" in SECTIONS[section] or body == "false"), name
        assert table or "No fields." in SECTIONS[section], name
        function = re.search(rf"static void {reader}_read\(.*?\n\}}", source, re.S)[0]
        for field, *_ in table:
            inner = {"first": "run_read", "count": "run_read"}.get(field, "hello_read")
            assert f'"{field}"' in function or inner in function, (name, field)


# ---- contexts and labels ----

@test
def contexts_and_labels():
    strings = set()
    for path in sorted(glob.glob("proto/*.c", root_dir=ROOT) + glob.glob("store/chunk.c", root_dir=ROOT)):
        strings |= set(re.findall(r'"(lanyard[- ][^"\\]*)(?:\\0)?"', code(path)))
        strings |= set(re.findall(r'id_derive\([^;]*?"([\w-]+)"', code(path)))
        strings |= set(re.findall(r'"(CPace\w+)"', code(path)))
    assert {"lanyard-vec-1", "lanyard-hello-1", "lanyard join server 1", "gear", "curve-server", "CPaceMac"} <= strings, strings
    missing = {s for s in strings if not re.search(rf"[`\"]{re.escape(s)}[`\"]", TEXT)}
    assert not missing, missing
    stated = set(re.findall(r"[`\"](lanyard-[a-z]+-\d[^`\"]*)[`\"]", TEXT))
    assert stated <= strings, stated - strings
    contexts = {c for c, _ in rows("Identities and keys", "context")}
    real = {s for p in glob.glob("proto/*.c", root_dir=ROOT) for s in re.findall(r'#define \w+_CONTEXT\s+"([^"]+)"', code(p))}
    assert contexts == real, contexts ^ real


# ---- merging ----

@test
def the_winner_is_chosen_in_the_order_that_is_listed():
    function = re.search(r"static bool beats\(.*?\n\}", code("proto/merge.c"), re.S)[0]
    real = re.findall(r"if \(a->(\w+) != b->\1\)\s*return ([^;]+);", function)
    words = {"required": "a required version", "tombstone": "not a tombstone", "directory": "a directory", "hlc": "the greater hlc"}
    assert dict(real)["tombstone"] == "b->tombstone" and "dot_cmp(&a->dot, &b->dot) > 0" in function, real
    listed = re.findall(r"^\d+\. (.*?)[;.]$", SECTIONS["The state of a path"], re.M | re.S)
    assert len(listed) == len(real) + 2 and "sid" in listed[-2] and "seq" in listed[-1], (listed, real)
    for item, (field, _) in zip(listed, real):
        assert words[field] in re.sub(r"\s+", " ", item), (field, item)


# ---- examples ----

def dots(text):
    return {(d[0], int(d[1:])) for d in text.split()}


@test
def the_worked_example_is_what_the_rules_give():
    entries = {}
    for name, _, ctx, exceptions, hlc in rows("Worked example", "entry"):
        entries[name] = ({s: int(n) for s, n in (p.split(":") for p in ctx.split())}, dots(exceptions), int(hlc))

    def supersedes(a, b):
        ctx, exceptions, _ = entries[a]
        return ctx.get(b[0], 0) >= int(b[1:]) and (b[0], int(b[1:])) not in exceptions

    states = rows("Worked example", "a device that has")
    assert len(entries) == 6 and len(states) == 6
    for known, heads, winner in states:
        known = known.split()
        found = [b for b in known if not any(supersedes(a, b) for a in known if a != b)]
        assert found == heads.split(), (known, found)
        assert max(found, key=lambda e: (entries[e][2], e)) == winner, (known, winner)

    def edit(author, base, heads):
        ctx = dict(entries[base][0])
        ctx[base[0]] = max(ctx.get(base[0], 0), int(base[1:]))
        others = [(h[0], int(h[1:])) for h in heads if h != base]
        return ctx, entries[base][1] | {d for d in others if ctx.get(d[0], 0) >= d[1] or d[0] == author}

    for name, base, heads in (("B1", "A1", ["A1"]), ("C1", "A1", ["A1"]), ("B2", "C1", ["B1", "C1"]), ("C2", "B2", ["B1", "B2"])):
        assert edit(name[0], base, heads) == entries[name][:2], (name, edit(name[0], base, heads))


def lv(x):
    assert len(x) < 128
    return bytes([len(x)]) + x


@test
def the_join_example_is_what_the_text_says():
    v = dict(re.findall(r"^(\w+): (\S+)$", SECTIONS["Join example"], re.M))
    value = lambda name: bytes.fromhex(v[name])
    isk = hashlib.sha512(lv(b"CPaceRistretto255_ISK") + lv(b"") + lv(value("K")) + lv(value("Ya")) + lv(value("ADa")) +
                         lv(value("Yb")) + lv(value("ADb"))).digest()
    assert isk == value("ISK")
    mac_key = hashlib.sha512(b"CPaceMac" + isk).digest()
    assert mac_key == value("mac_key")
    for tag, label, share, ad in (("Ta", b"joiner", "Ya", "ADa"), ("Tb", b"inviter", "Yb", "ADb")):
        assert hmac.digest(mac_key, lv(label) + lv(value(share)) + lv(value(ad)), "sha512") == value(tag), tag
    for key, label in (("key_joiner", b"joiner to inviter"), ("key_inviter", b"inviter to joiner")):
        assert hashlib.blake2b(b"lanyard-join-1 " + label, key=isk, digest_size=32).digest() == value(key), key
    assert f"join_server.pk: {v['ADb']}\n" in read("tests/vectors/keys.txt")
    padding = 128 - 1 - len(lv(value("prs"))) - len(lv(b"CPaceRistretto255"))
    assert f"lv({padding} zero bytes)" in TEXT, padding
    symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    assert f"`{symbols}`" in DOC
    total = 0
    for s in v["code"].replace("-", "")[:9]:
        total = (total ^ symbols.index(s)) << 1
        total ^= 37 if total & 32 else 0
    assert symbols[total] == v["code"][-1]


@test
def the_tag_example_is_what_the_text_says():
    key = bytes.fromhex(re.search(r"^disc: (\w+)$", read("tests/vectors/keys.txt"), re.M)[1])
    name, date, tag = re.search(r"instance `([\w-]+)` and ([\d-]+) it is `(\w{16})`", TEXT).groups()
    made = hashlib.blake2b((name + date.replace("-", "")).encode(), key=key, digest_size=16).digest()[:8].hex()
    assert made == tag, made


tap.main()
