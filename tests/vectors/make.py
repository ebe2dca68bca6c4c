#!/usr/bin/env python3
"""Byte-level test vectors, made without any of the C code: `make.py` writes the .txt files beside it, `make.py --check` compares
them with what it would write, `make.py --corpus DIR` writes the records and messages as valid samples for the fuzz targets.

A file has lines `name: value`; a value is hex for bytes, decimal for numbers, and "text" (UTF-8, no escapes). Lines that begin
with # are comments. Only the standard library is used: hashlib for BLAKE2b and SHA-512, and below msgpack and, straight from
RFC 8032 and RFC 7748, Ed25519 and X25519 (slow, not constant-time: for public test keys only)."""
import hashlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

# ---- msgpack: always the shortest form ----

def pack_head(n, small, forms):
    if small and n < small[1]:
        return bytes([small[0] + n])
    for code, size in forms:
        if n < 1 << 8 * size:
            return bytes([code]) + n.to_bytes(size, "big")
    raise ValueError(n)

def pack(v):
    if v is None:
        return b"\xc0"
    if isinstance(v, Raw):
        return bytes(v)
    if isinstance(v, int):
        if v >= 0:
            return pack_head(v, (0, 128), [(0xcc, 1), (0xcd, 2), (0xce, 4), (0xcf, 8)])
        if v >= -32:
            return bytes([256 + v])
        code, size = next((c, s) for c, s in [(0xd0, 1), (0xd1, 2), (0xd2, 4), (0xd3, 8)] if v >= -(1 << 8 * s - 1))
        return bytes([code]) + v.to_bytes(size, "big", signed=True)
    if isinstance(v, bytes):
        return pack_head(len(v), None, [(0xc4, 1), (0xc5, 2), (0xc6, 4)]) + v
    if isinstance(v, str):
        b = v.encode()
        return pack_head(len(b), (0xa0, 32), [(0xd9, 1), (0xda, 2), (0xdb, 4)]) + b
    if isinstance(v, list):
        return pack_head(len(v), (0x90, 16), [(0xdc, 2), (0xdd, 4)]) + b"".join(map(pack, v))
    return pack_head(len(v), (0x80, 16), [(0xde, 2), (0xdf, 4)]) + b"".join(pack(k) + pack(x) for k, x in v.items())

class Raw(bytes):
    """Bytes that are msgpack already."""

# ---- hashes and keys ----

def blake(data, size=32, **more):
    return hashlib.blake2b(data, digest_size=size, **more).digest()

P = 2 ** 255 - 19
L = 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P

def add(a, b):
    """Points in extended coordinates (X, Y, Z, T), RFC 8032 section 5.1.4."""
    A, B = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    C, E = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = B - A, E - C, E + C, B + A
    return e * f % P, g * h % P, f * g % P, e * h % P

def times(s, p):
    q = (0, 1, 1, 0)
    while s:
        if s & 1:
            q = add(q, p)
        p, s = add(p, p), s >> 1
    return q

BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)

def point_bytes(p):
    z = pow(p[2], P - 2, P)
    return (p[1] * z % P | (p[0] * z % P & 1) << 255).to_bytes(32, "little")

def number(b):
    return int.from_bytes(b, "little")

def clamp(b):
    return number(b) & ~7 & (1 << 255) - 1 | 1 << 254

class Device:
    def __init__(self, fill):
        """As the tests have them: the seeds are one byte repeated."""
        self.seed, self.tr_seed = bytes([fill]) * 32, bytes([fill ^ 0x80]) * 32
        h = hashlib.sha512(self.seed).digest()
        self.a, self.prefix = clamp(h[:32]), h[32:]
        self.dev = point_bytes(times(self.a, BASE))
        self.tr_pk, self.tr_sk = box_pair(self.tr_seed)

    def sign(self, context, data):
        m = context.encode() + b"\0" + data
        r = number(hashlib.sha512(self.prefix + m).digest()) % L
        big_r = point_bytes(times(r, BASE))
        k = number(hashlib.sha512(big_r + self.dev + m).digest()) % L
        return big_r + ((r + k * self.a) % L).to_bytes(32, "little")

    def blob(self, context, rec):
        return pack([rec, self.sign(context, rec)])

def x25519(k, u):
    """The ladder of RFC 7748 section 5."""
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return x2 * pow(z2, P - 2, P) % P

def box_pair(seed):
    """A Curve25519 pair from a seed, as libsodium's crypto_box_seed_keypair does it."""
    sk = hashlib.sha512(seed).digest()[:32]
    return x25519(clamp(sk), 9).to_bytes(32, "little"), sk

# ---- trees and lists ----

def merkle(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return blake(b"\1" + merkle(leaves[:k]) + merkle(leaves[k:]))

def audit_path(leaves, i):
    """RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if i < k:
        return audit_path(leaves[:k], i) + [merkle(leaves[k:])]
    return audit_path(leaves[k:], i - k) + [merkle(leaves[:k])]

def leaf(ent):
    return blake(b"\0" + ent)

def block_root(refs):
    person = b"lanyard-blocks-1"
    leaves = [blake(b"\2" + b"".join(refs[i:i + 4096]), person=person) for i in range(0, len(refs), 4096)]
    return blake(b"\3" + len(refs).to_bytes(4, "little") + b"".join(leaves), person=person)

def block_refs(n):
    return [blake(i.to_bytes(4, "little")) + (1 + i).to_bytes(4, "little") for i in range(n)]

# ---- the vectors ----

class File:
    def __init__(self, title):
        self.lines, self.value = [f"# {title}"], {}

    def put(self, name, value):
        self.value[name] = value
        text = value.hex() if isinstance(value, bytes) else f'"{value}"' if isinstance(value, str) else str(value)
        self.lines.append(f"{name}: {text}")
        return value

    def note(self, text):
        self.lines += ["", f"# {text}"]

    def text(self):
        return "\n".join(self.lines) + "\n"

ALICE, BOB = Device(1), Device(2)
K_GROUP = bytes(range(32))
MS = 1700000000000

def fill(n, size=32):
    return bytes([n]) * size

def keys_file():
    f = File("Keys from fixed seeds, what is derived from a group's key, and a signature.")
    for name, d in (("alice", ALICE), ("bob", BOB)):
        f.note(f"{name}: Ed25519 seed and public key, Curve25519 seed and pair")
        for field in ("seed", "dev", "tr_seed", "tr_pk", "tr_sk"):
            f.put(f"{name}.{field}", getattr(d, field))
        h = blake(d.dev)
        f.put(f"{name}.fingerprint", "-".join(f"{int.from_bytes(h[4 * i:4 * i + 4], 'big') % 100000:05}" for i in range(8)))
    f.note("BLAKE2b(key = k_group, label)")
    f.put("k_group", K_GROUP)
    f.put("chunk", blake(b"chunk", key=K_GROUP))
    f.put("disc", blake(b"disc", key=K_GROUP))
    f.put("topic", blake(b"topic", 16, key=K_GROUP)[:8])
    pk, sk = box_pair(blake(b"curve-server", key=K_GROUP))
    f.put("server.pk", pk), f.put("server.sk", sk)
    pk, sk = box_pair(blake(b"lanyard join server 1"))
    f.put("join_server.pk", pk), f.put("join_server.sk", sk)
    f.note("alice signs data in a context")
    f.put("sign.context", "lanyard-test-1")
    f.put("sign.data", b"some bytes")
    f.put("sign.sig", ALICE.sign("lanyard-test-1", b"some bytes"))
    f.note("a stream id")
    f.put("sid.group", fill(0x47)), f.put("sid.inc", b"incarnat")
    f.put("sid.sid", blake(fill(0x47) + ALICE.dev + b"incarnat", 16))
    return f

def trees_file():
    f = File("Merkle roots over n leaves of the entries \"entry 0\", \"entry 1\"..., and block lists of n references.")
    for n in (1, 2, 3, 4, 5, 7, 8, 13, 4096):
        f.put(f"merkle.{n}", merkle([leaf(b"entry %d" % i) for i in range(n)]))
    f.note("the audit path of leaf 4 of 7, bottom up")
    f.put("proof.4.7", b"".join(audit_path([leaf(b"entry %d" % i) for i in range(7)], 4)))
    f.note("reference i = BLAKE2b-256(i as u32 LE), length 1 + i")
    for n in (2, 3, 4096, 4097, 8193):
        f.put(f"blocks.{n}", block_root(block_refs(n)))
    return f

def record(f, name, context, signer, rec):
    """The bytes of a record, its signature, and the blob of both."""
    f.put(f"{name}.record", rec)
    f.put(f"{name}.sig", signer.sign(context, rec))
    return f.put(f"{name}.blob", signer.blob(context, rec))

def cards(f):
    blobs = {}
    for name, d in (("alice", ALICE), ("bob", BOB)):
        f.note(f"CARD of {name}")
        f.put(f"card.{name}.name", "Küche" if d is BOB else "laptop"), f.put(f"card.{name}.created_ms", MS), f.put(f"card.{name}.caps", 3)
        rec = pack([1, d.dev, d.tr_pk, "Küche" if d is BOB else "laptop", MS, 3])
        blobs[name] = record(f, f"card.{name}", "lanyard-card-1", d, rec)
    return blobs

def control(f, card, group, hdr_hash):
    sid = blake(group + ALICE.dev + b"incarnat", 16)
    cuts = [[fill(1, 16), 0, fill(0)], [sid, 3, hdr_hash]]
    cuts.sort()
    box = bytes(range(88))
    ops = [
        [1, card, 3, box], [2, BOB.dev, cuts], [3, BOB.dev, 4, []], [4, 2, sorted([[ALICE.dev, box], [BOB.dev, box]])],
        [5, fill(5, 16), cuts, "take this", 2, MS + 1, [BOB.dev]], [6, fill(5, 16)], [7, BOB.dev], [8, "tcp://relay.example.org:7447", fill(8)],
        [9, {"keep_days": 30, "share": None}], [10, BOB.dev, "shed"], [11, fill(11)],
    ]
    f.note("CTL with one operation of each type; the ops as raw msgpack")
    f.put("ctl.n", 1), f.put("ctl.prev", group), f.put("ctl.ts_ms", MS + 2)
    for i, op in enumerate(ops):
        f.put(f"ctl.op.{i}", pack(op))
    f.put("ctl.cuts", pack(cuts)), f.put("ctl.keys", pack(ops[3][2])), f.put("ctl.to", pack(ops[4][6])), f.put("ctl.policy", pack(ops[8][1])), f.put("ctl.box", box)
    rec = pack([1, group, 1, group, MS + 2, ALICE.dev, ops])
    f.put("ctl.hash", blake(rec))
    return record(f, "ctl", "lanyard-ctl-1", ALICE, rec)

def entries(f):
    a, b = fill(0x61, 16), fill(0x62, 16)
    blocks = block_root(block_refs(3))
    rows = {
        "inline": [1, b"docs/note.txt", [[a, 4], [b, 2]], [[a, 1], [a, 3]], 99 << 16 | 1, 0o640, 5, -1, [0, b"hello"], None, 0],
        "empty": [1, b"empty", [], [], 1, 0o644, 0, 0, [0, b""], None, 0],
        "blocks": [1, b"docs/film.mkv", [[a, 1 << 40]], [], MS << 16, 0o755, 10 ** 7, MS * 10 ** 6, [1, 2, 3, blocks], None, 0],
        "single": [1, b"\xff\xfe raw", [], [], 7, 0o600, 2000, 5, [1, 0, 1, blake(b"x" * 2000)], None, 1],
        "dir": [2, b"docs", [], [], 3, 0o755, 0, 12, None, None, 0],
        "symlink": [3, "verkn\u00fcpft".encode(), [], [], 4, 0o777, 9, 0, [0, b"../target"], None, 0],
        "tombstone": [4, b"docs/old", [[b, 128]], [], 5, 0, 0, 1 << 40, None, None, 0],
    }
    f.note("ENT")
    put_entries(f, rows)
    return [pack(row) for row in rows.values()]

def snapshots(f):
    """An entry at a place of its own, which is why it is not among those of the change sets."""
    a, b = fill(0x61, 16), fill(0x62, 16)
    f.note("ENT: a snapshot: its ctx is the vector that it names")
    put_entries(f, {"snapshot": [5, b".lanyard/snapshots/before", [[a, 4], [b, 2]], [], 6, 0, 0, MS * 10 ** 6, None, None, 0]})

def notes(f):
    f.note("ENT: a note")
    said = pack({"files": 3, "path": b"docs", "what": "restored"})
    put_entries(f, {"note": [6, b".lanyard/notes/" + b"0123456789abcdef" * 2, [], [], 8, 0, len(said), 0, [0, said], None, 0]})

def put_entries(f, rows):
    for name, row in rows.items():
        f.put(f"entry.{name}.path", row[1])
        for field, i in (("kind", 0), ("hlc", 4), ("mode", 5), ("size", 6), ("mtime_ns", 7), ("flags", 10)):
            f.put(f"entry.{name}.{field}", row[i])
        c = row[8]
        f.put(f"entry.{name}.root", fill(0) if c is None else blake(c[1]) if c[0] == 0 else c[3])
        f.put(f"entry.{name}.bytes", pack(row))
        f.put(f"entry.{name}.leaf", leaf(pack(row)))

def header(f, name, group, signer, first, ents, prev):
    root = merkle([leaf(e) for e in ents])
    f.note(f"HDR {name}")
    f.put(f"{name}.first", first), f.put(f"{name}.count", len(ents)), f.put(f"{name}.root", root), f.put(f"{name}.prev", prev)
    rec = pack([1, group, signer.dev, b"incarnat", first, len(ents), root, prev, MS << 16 | 7, MS, 1, 0])
    f.put(f"{name}.hlc_max", MS << 16 | 7), f.put(f"{name}.wall_ms", MS), f.put(f"{name}.ctl_n", 1)
    f.put(f"{name}.sid", blake(group + signer.dev + b"incarnat", 16)), f.put(f"{name}.hash", blake(rec))
    record(f, name, "lanyard-cs-1", signer, rec)
    return rec

def vector(f, group, sid, hdr_hash):
    streams = sorted([[sid, 7, 6, hdr_hash[:8]], [fill(9, 16), 1 << 33, 0, fill(3, 8)]])
    reqs = [[fill(5, 16), 2, MS]]
    f.note("VEC: streams are sid | known u64 LE | content u64 LE | tip8, one behind the other")
    f.put("vec.streams", b"".join(s[0] + s[1].to_bytes(8, "little") + s[2].to_bytes(8, "little") + s[3] for s in streams))
    f.put("vec.inst", b"instance"), f.put("vec.ctr", 300), f.put("vec.wall_ms", MS + 3), f.put("vec.ctl_n", 1)
    f.put("vec.ctl_hash", fill(0x55)), f.put("vec.port", 7447), f.put("vec.fp", fill(0xf0)), f.put("vec.reqs", pack(reqs))
    f.put("vec.flags", 12)
    rec = pack([1, group, ALICE.dev, b"instance", 300, MS + 3, 1, fill(0x55), 7447, streams, fill(0xf0), reqs, 12])
    record(f, "vec", "lanyard-vec-1", ALICE, rec)
    said = b"".join(pack(x) for x in [1, fill(0x55), 7447, streams, fill(0xf0), reqs, 12])
    f.note("meaning: hash of the record from ctl_n on")
    f.put("vec.meaning", blake(said))

def records_file():
    f = File("Records: the record's bytes, alice's signature (bob's on his card), the signed blob, and the fields.")
    card = cards(f)
    f.note("GENESIS by alice")
    gen = pack([1, card["alice"], fill(0x72), MS])
    f.put("genesis.created_ms", MS)
    record(f, "genesis", "lanyard-gen-1", ALICE, gen)
    group = f.put("genesis.group", blake(gen))
    ents = entries(f)
    first = header(f, "header.first", group, ALICE, 1, ents, fill(0))
    header(f, "header.second", group, ALICE, 1 + len(ents), ents[:3], blake(first))
    header(f, "header.forked", group, ALICE, 2, ents[:2], fill(0x66))
    control(f, card["bob"], group, blake(first))
    vector(f, group, f.value["header.first.sid"], blake(first))
    f.note("address card")
    f.put("addr.wall_ms", MS), f.put("addr.0", "192.0.2.7:7447"), f.put("addr.1", "[2001:db8::1]:7447")
    rec = pack([1, group, ALICE.dev, MS, ["192.0.2.7:7447", "[2001:db8::1]:7447"]])
    record(f, "addr", "lanyard-addr-1", ALICE, rec)
    snapshots(f)
    notes(f)
    return f, ents

def heads(f, group):
    nonce, sid = fill(0x11), fill(1, 16)
    hello = [group, ALICE.dev, b"instance", 1, 1, MS, 1, fill(0x55), 3, 7447, nonce]
    plain = group + ALICE.dev + ALICE.tr_pk + nonce
    sig = f.put("hello.sig", ALICE.sign("lanyard-hello-1", plain))
    bob_nonce = f.put("hello_ok.caller_nonce", fill(0x22))
    sig_ok = f.put("hello_ok.sig", ALICE.sign("lanyard-hello-1", plain + BOB.dev + BOB.tr_pk + bob_nonce))
    root, one = fill(0x31), fill(0x32)
    rows = {
        "HELLO": (1, hello + [sig]), "HELLO_OK": (2, hello + [sig_ok, [[sid, 5], [fill(2, 16), 1 << 20]]]),
        "ERR": (3, [5, "not here", 1500]), "PING": (4, [MS, 9]), "PONG": (5, [MS, 10]), "GET_CTL": (10, [4]), "CTL": (11, []),
        "GET_VEC": (12, []), "VEC": (13, []), "GET_CS": (14, [[[sid, 1, 9], [sid, 12, 12], [fill(2, 16), 3, 300]], 4 << 20]),
        "CS": (15, []), "GET_LIVE": (16, [b"a", b"docs/x", 17]), "LIVE": (17, [18]), "GET_TREE": (18, [root, 5000, 4096, 904]),
        "TREE": (19, [root, 4096, 904]), "HAVE": (20, [root, 5000, 10, 20]), "HAVE_OK": (21, [root, 10, 20]),
        "GET_BLK": (22, [[[root, 0, one], [root, 70000, fill(0x33)]]]), "BLK": (23, [[[0, 0, 4096], [1, 2, 0]]]), "PEX": (24, []),
        "FORK": (25, []), "GET_VECS": (26, [1, 0, 7]), "VECS": (27, [9, 1]), "GET_HIST": (28, [b"docs/note.txt"]), "HIST": (29, []), "JOIN1": (30, [1, 1, "A7", fill(0x41)]),
        "JOIN2": (31, [fill(0x42), fill(0x43, 64)]), "JOIN3": (32, [fill(0x44, 64)]), "JOIN4": (33, []),
    }
    f.note("one head of each type; req_id = 1000 + type")
    for name, (kind, fields) in rows.items():
        f.put(f"head.{name}", pack([1, kind, 1000 + kind] + fields))

def messages_file(rec, ents):
    f = File("Messages: heads and bodies.")
    v = rec.value
    heads(f, v["genesis.group"])
    leaves = [leaf(e) for e in ents]
    one = [v["header.first.record"], v["header.first.sig"]]
    f.note("CS: the change set of header.first, whole; and with the entries 4 and 5 pruned")
    f.put("cs.whole", pack([one + [ents]]))
    f.put("cs.pruned", pack([one + [ents[:4] + [[4, 2, merkle(leaves[4:6])]] + ents[6:]]]))
    f.note("LIVE: entries 2 and 6 of it with their proofs")
    f.put("live", pack([one + [i, ents[i], audit_path(leaves, i)] for i in (2, 6)]))
    f.note("FORK: header.first and header.forked contradict each other")
    f.put("fork", pack([one, [v["header.forked.record"], v["header.forked.sig"]]]))
    f.note("GET_VECS: one vector that is held; VECS: of two devices, the vector of the second")
    f.put("held", pack([[ALICE.dev, b"instance", 9, MS, v["vec.meaning"][:8]]]))
    f.put("told", pack(sorted([[ALICE.dev, 0, v["vec.blob"]], [BOB.dev, 1500, b""]])))
    f.note("CTL, PEX, HIST")
    f.put("ctl", pack([Raw(v["ctl.blob"])]))
    f.put("pex", pack([Raw(v["addr.blob"])]))
    f.put("hist", pack([[fill(1, 16), 5, fill(0x31)], [fill(1, 16), 6, fill(0)], [fill(2, 16), 1, fill(0x33)]]))
    return f

def nasty(good):
    """What a hostile peer would try first."""
    huge = {"array32-huge": b"\xdd\x0f\xff\xff\xff", "array32-max": b"\xdd" + b"\xff" * 4, "map32-huge": b"\xdf\x7f\xff\xff\xff",
            "bin32-huge": b"\xc6\xff\xff\xff\xff", "str32-huge": b"\xdb\xff\xff\xff\xff", "deep": b"\x91" * 200 + b"\xc0",
            "deep-maps": b"\x81\xc0" * 50 + b"\xc0", "float": b"\xcb" + bytes(8), "ext": b"\xc7\x01\x05x", "never-used": b"\xc1",
            "wide": b"\xdc\x10\x00" + b"\xc0" * 4096, "behind-the-end": b"\xc0\xc0", "zeros": bytes(100), "ones": b"\xff" * 100}
    out = {}
    for target, selectors in (("mp", [b""]), ("msg", [b""]), ("record", [b"\4"]), ("body", [b"\0"])):
        for select in selectors:
            for name, data in huge.items():
                out[f"{target}/{name}" + (f"-{select[0]}" if select else "")] = select + data
    for name, count in (("record/entry-blocks-bytes", 30), ("record/ctl-record", 200), ("record/vec-record", 120), ("body/cs-whole", 300),
                        ("msg/get_cs", 40), ("msg/hello", 99), ("mp/fork", 77)):
        out[name + "-cut"] = good[name][:count]
    out["record/vec-more-streams-than-bytes"] = good["record/vec-record"][:104] + b"\xdc\xff\xff" + b"\xc0" * 300
    out["msg/get_cs-many"] = pack([1, 14, 1, [[fill(1, 16), 2 * i + 1, 2 * i + 1] for i in range(257)], 1])
    out["msg/blk-too-much"] = pack([1, 23, 1, [[i, 0, 4 << 20] for i in range(32)]])
    out["body/items-run-too-long"] = bytes([6, 0, 2]) + pack([[0, 4096, fill(7)]])
    out["body/items-run-wraps"] = bytes([6, 0, 2]) + pack([b"x", [1, (1 << 32) - 1, fill(7)]])
    out["body/tree-zero-length"] = bytes([2]) + b"".join(block_refs(3)) + fill(7) + bytes(4)
    return out

def corpus(folder, rec, msg, ents):
    """One input a file. The first byte selects the decoder as the fuzz targets say."""
    samples = {f"msg/{name[5:].lower()}": data for name, data in msg.value.items() if name.startswith("head.")}
    selector = {"card": 0, "genesis": 1, "ctl": 2, "header": 3, "entry": 4, "vec": 5, "addr": 6}
    for name, data in rec.value.items():
        kind, end = name.split(".")[0], name.split(".")[-1]
        if end == "record" and not name.startswith("card.bob") or end == "bytes":
            samples[f"record/{name.replace('.', '-')}"] = bytes([selector[kind]]) + data
        if end == "blob" and kind != "header":
            samples[f"record/{name.replace('.', '-')}"] = bytes([selector[kind] + 8]) + data
    bodies = {"cs.whole": 0, "cs.pruned": 0, "live": 1, "hist": 3, "fork": 4, "ctl": 5, "pex": 5, "held": 7, "told": 8}
    for name, select in bodies.items():
        samples[f"body/{name.replace('.', '-')}"] = bytes([select]) + msg.value[name]
        samples[f"mp/{name.replace('.', '-')}"] = msg.value[name]
    samples["body/items"] = bytes([6, 0, 7]) + pack(ents[:4] + [[4, 2, fill(7)]] + ents[6:])
    samples["body/tree"] = bytes([2]) + b"".join(block_refs(5))
    samples.update(nasty(samples))
    for name, data in samples.items():
        path = os.path.join(folder, "fuzz_" + name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)

def main():
    rec, ents = records_file()
    msg = messages_file(rec, ents)
    if sys.argv[1:2] == ["--corpus"]:
        return corpus(sys.argv[2], rec, msg, ents)
    files = {"keys.txt": keys_file(), "trees.txt": trees_file(), "records.txt": rec, "messages.txt": msg}
    stale = 0
    for i, (name, f) in enumerate(files.items()):
        path = os.path.join(HERE, name)
        if sys.argv[1:] == ["--check"]:
            same = os.path.exists(path) and open(path, encoding="utf-8").read() == f.text()
            print(f"{'' if same else 'not '}ok {i + 1} - vectors: {name}")
            stale = stale or not same
        else:
            with open(path, "w", encoding="utf-8") as out:
                out.write(f.text())
    if sys.argv[1:] == ["--check"]:
        print(f"1..{len(files)}")
    return stale

if __name__ == "__main__":
    sys.exit(main())
