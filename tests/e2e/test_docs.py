"""The docs say nothing that is not so: the tests they name exist, their links lead somewhere, their commands are commands."""
import glob
import os
import re
import subprocess

from lanyard import LANYARD, ROOT, Skip, tap, test

DOCS = ["README.md", *sorted(glob.glob("docs/*.md", root_dir=ROOT)), "CHANGELOG.md"]
WANTED = ("README.md", "CHANGELOG.md", "LICENSE", "docs/ARCHITECTURE.md", "docs/PROTOCOL.md", "docs/SECURITY.md", "docs/HACKING.md", "docs/FAULTS.md",
          "docs/lanyard.1", "docs/lanyardd.8")


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def texts():
    return [(path, text_of(path)) for path in DOCS if os.path.exists(os.path.join(ROOT, path))]


def without_code(text):
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


def anchors(text):
    """The anchors that Git hosts make of headings."""
    found = set()
    for title in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", re.sub(r"```.*?```", "", text, flags=re.S), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        found.add(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain)))
    return found


@test
def every_document_exists():
    missing = [path for path in WANTED if not os.path.isfile(os.path.join(ROOT, path))]
    assert not missing, missing


@test
def links_lead_somewhere():
    wrong = []
    for path, text in texts():
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
            if not os.path.exists(os.path.join(ROOT, there)):
                wrong.append(f"{path}: {target}")
            elif anchor and there.endswith(".md") and anchor not in anchors(text_of(there)):
                wrong.append(f"{path}: {target}: no such heading")
    assert not wrong, wrong


@test
def paths_in_the_text_exist():
    wrong = []
    for path, text in texts():
        for named in re.findall(r"`((?:proto|store|discovery|node|cli|tests|docs)/[\w./*-]+)`", text):
            stem = named.rstrip("/")
            if not glob.glob(os.path.join(ROOT, stem)) and not glob.glob(os.path.join(ROOT, stem + ".[ch]")):
                wrong.append(f"{path}: {named}")
    assert not wrong, wrong


@test
def tests_in_the_text_exist():
    sources = {os.path.basename(p): p for p in glob.glob(ROOT + "/tests/**/*.*", recursive=True)}
    wrong = []
    for path, text in texts():
        for name, extension, function in re.findall(r"\b((?:test|fuzz|sim)_\w+)(\.c|\.py)?(?:`?:\s*`?([a-z]\w*_\w+))?", text):
            source = next((sources[name + e] for e in ([extension] if extension else [".c", ".py"]) if name + e in sources), None)
            if not source:
                wrong.append(f"{path}: {name}{extension}")
            elif function and not re.search(rf"\b{function}\b", text_of(source)):
                wrong.append(f"{path}: {name}{extension}: {function}")
    assert not wrong, wrong


def section(title):
    """What stands in ARCHITECTURE.md beneath a heading, up to the next one of any level."""
    return re.search(rf"^#+ {title}.*?\n(.*?)(?=^#+ |\Z)", text_of("docs/ARCHITECTURE.md"), re.M | re.S)[1]


def tests_that_do_not_run(text):
    """Of the tests that a text names; None when it names none."""
    wrong, named = [], re.findall(r"`(test_\w+)\.(c|py): (\w+)`", text)
    for name, extension, function in named:
        path = f"tests/unit/{name}.c" if extension == "c" else f"tests/e2e/{name}.py"
        runs = rf"\bRUN\({function}\)" if extension == "c" else rf"^@test\ndef {function}\(\)"
        if not os.path.exists(os.path.join(ROOT, path)) or not re.search(runs, text_of(path), re.M):
            wrong.append(f"{path}: {function}")
    simulated = re.findall(r"`(sim/\w+)`", text)
    wrong += [name for name in simulated if f'"{name}"' not in text_of("tests/run")]
    return wrong if named or simulated else None


@test
def every_invariant_names_tests_that_run():
    wrong, items = [], re.split(r"^(\d+)\. ", section("Invariants"), flags=re.M)[1:]
    for number, text in zip(items[::2], items[1::2]):
        bad = tests_that_do_not_run(text)
        wrong += [f"{number}: no test"] if bad is None else [f"{number}: {b}" for b in bad]
    assert len(items) > 20 and not wrong, (items[::2], wrong)


@test
def every_fault_names_tests_that_run():
    wrong, rows = [], [line for line in text_of("docs/FAULTS.md").splitlines() if line.startswith("| ") and not line.startswith("| case |")]
    for row in rows:
        bad = tests_that_do_not_run(row)
        wrong += [f"{row[:60]}: no test"] if bad is None else [f"{row[:60]}: {b}" for b in bad]
    assert len(rows) > 40 and not wrong, wrong


@test
def every_fault_of_the_list_is_in_the_table():
    text = text_of("docs/FAULTS.md")
    rows, _, rest = text.partition("## What cannot be promised")
    in_rows = {int(n) for line in rows.splitlines() if line.startswith("| ") for n in re.findall(r"\bF(\d+)\b", line.split(" | ")[0])}
    open_yet = {int(n) for n in re.findall(r"\bF(\d+)\b", rest)}
    assert in_rows | open_yet == set(range(1, 53)) and not in_rows & open_yet, (set(range(1, 53)) - in_rows - open_yet, in_rows & open_yet)


@test
def the_tour_names_every_source_file():
    wrong = []
    for folder in ("proto", "store", "discovery", "node", "cli"):
        named = set(re.findall(r"`(\w+\.[ch])`", section(f"{folder}: ")))
        there = set(glob.glob("*.[ch]", root_dir=os.path.join(ROOT, folder)))
        wrong += [f"{folder}/{name} is not in the tour" for name in there if not {name[:-1] + "c", name[:-1] + "h"} & named]
        wrong += [f"{folder}/{name} does not exist" for name in named - there]
    assert not wrong, sorted(wrong)


@test
def programs_of_tests_in_the_text_exist():
    names = [f"{path.split('/')[1]}/{os.path.basename(path).rsplit('.', 1)[0]}"
             for kind in ("unit/test_*.c", "fuzz/fuzz_*.c", "e2e/test_*.py") for path in glob.glob(f"tests/{kind}", root_dir=ROOT)]
    patterns = [(path, p) for path, text in texts()
                for words in re.findall(r"^(?:[A-Z_]+=\S+ )*tests/run ([^#\n]+)", text, re.M) for p in words.split()]
    wrong = [f"{path}: tests/run {p}" for path, p in patterns if not any(p in name for name in names)]
    assert patterns and not wrong, wrong


# What the table of SECURITY.md says, and where the program has it.
FIGURES = {
    r"open invites \| (\d+); (\d+) tries": ("node/inviter.h", r"INVITES (\d+)", r"INVITE_TRIES (\d+)"),
    r"dialled \| (\S+); (\d+) at once": ("node/peers.c", r"ADDRESSES_MAX (\d+)", r"DIALS_MAX (\d+)"),
    r"kept from multicast \| (\d+);": ("discovery/instances.h", r"INSTANCES_MAX (\d+) "),
    r"do not end \| (\d+) s": ("node/net.c", r"ZMQ_HANDSHAKE_IVL, (\d+)000\}"),
    r"control log \| (\d+) MiB": ("store/control.c", r"CONTROL_BYTES \((\d+)u"),
    r"looks at something else \| (\d+)": ("node/net.c", r"MESSAGES_A_TURN = (\d+)"),
    r"does not read them \| (\d+) MiB; (\d+) on": ("node/net.h node/net.c", r"NET_WAITING_MAX \((\d+)u << 20", r"REPLIES_WAITING (\d+)"),
    r"waiting to be sent to them \| (\d+) MiB": ("node/serve.c", r"define MEMORY \(\(uint64_t\)(\d+) << 20"),
    r"that wait, of one device \| (\d+); .* for (\d+) s": ("node/serve.c", r"WAITING_MAX = (\d+)", r"PATIENCE_MS (\d+)000"),
    r"at once \| more than a quarter, and over (\d+):": ("node/scan_see.c", r"BRAKE_MIN = (\d+), BRAKE_PART = 4\b"),
}


@test
def figures_of_the_security_text_are_those_of_the_program():
    table, wrong = text_of("docs/SECURITY.md"), []
    for row, (paths, *code) in FIGURES.items():
        stated = re.search(row, table)
        source = "".join(map(text_of, paths.split()))
        real = [m[1] if (m := re.search(c, source)) else f"no {c}" for c in code]
        if not stated or [n.replace(",", "") for n in stated.groups()] != real:
            wrong.append((row, stated and stated.groups(), real))
    assert not wrong, wrong


@test
def make_targets_in_the_text_exist():
    makefile = text_of("Makefile")
    wrong = [f"{path}: make {target}" for path, text in texts() for target in re.findall(r"(?:`|^\s*\$?\s*)make ([a-z]\w*)\b", text, re.M)
             if not re.search(rf"^{target}:", makefile, re.M)]
    assert not wrong, wrong


@test
def commands_of_the_readme_are_commands():
    if not os.path.exists(LANYARD):
        raise Skip("lanyard is not built")
    blocks = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text_of("README.md"), re.S))
    commands = sorted(set(re.findall(r"(?:^|[\s`&$;])lanyard ([a-z]+)\b(?!:)", blocks)))
    assert commands, "README names no command"
    wrong = [c for c in commands if subprocess.run([LANYARD, c, "--help"], capture_output=True, stdin=subprocess.DEVNULL).returncode]
    assert not wrong, wrong


@test
def man_pages_are_well_formed_and_name_every_command():
    listed = subprocess.run([LANYARD, "--help"], capture_output=True, text=True).stdout
    commands = re.findall(r"^ +(?:lanyard )?([a-z]+)  ", listed, re.M)
    assert "init" in commands, listed
    page = text_of("docs/lanyard.1")
    missing = [c for c in commands if not re.search(rf"\b{c}\b", page)]
    assert not missing, missing
    for name in ("docs/lanyard.1", "docs/lanyardd.8"):
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", os.path.join(ROOT, name)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "MANWIDTH": "80"})
        assert done.returncode == 0 and not done.stderr.strip(), f"{name}: {done.stderr}"


tap.main()
