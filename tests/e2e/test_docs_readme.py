"""README.md is followed to the letter: its walk-through is typed on hosts of those names, and they print what it says they print."""
import os
import re
import shutil
import subprocess

from lanyard import BUILD, LANYARD, ROOT, Skip, closing, fixture, network, tap, temp_dir, test, wait_until

with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
    README = f.read()
LICENSES = "/usr/share/common-licenses"
READS_ONLY = re.compile(r"(?:ls|cat|lanyard (?:status|log|cat|conflicts|wait))\b")   # may be typed again, until others have caught up

# What differs from one time to the next: how the text writes it, what may stand there, and whether it must be the same all through.
VARIABLE = {
    "version": (r"\b[0-9a-f]{16}-\d+\b", r"[0-9a-f]{16}-\d+", True),
    "id": (r"\b[0-9a-f]{16}\.\.\.", r"[0-9a-f]{64}", True),
    "fingerprint": (r"\b(?:\d{5}-)+\.\.\.", r"(?:\d{5}-)+\d{5}", True),
    "phrase": (r"\b(?:[0-9A-Z]{5}-){5}[0-9A-Z]\b", r"(?:[0-9A-Z]{5}-){5}[0-9A-Z]", True),
    "code": (r"\b[0-9A-Z]{5}-[0-9A-Z]{5}\b", r"[0-9A-Z]{5}-[0-9A-Z]{5}", True),
    "address": (r"\b192\.168\.\d+\.\d+\b", r"\d+\.\d+\.\d+\.\d+", True),
    "time": (r"\bjust now\b|\b\d+ s ago\b", r"(?:just now|\d+ s ago)", False),
    "gap": (r" +", r" +", False),
}
TOKEN = re.compile("|".join(f"(?P<{name}>{written})" for name, (written, _, _) in VARIABLE.items()))


class Shell:
    """A shell that stays, as a user named ada on a host of that name."""

    def __init__(self, host, name):
        self.home = os.path.join(temp_dir(name), "ada")
        os.makedirs(self.home)
        env = {"HOME": self.home, "PATH": f"{BUILD}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
        self.process = host.popen(["unshare", "--uts", "bash", "--noprofile", "--norc"], env=env, cwd=self.home, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.type(f"hostname {name}")

    def type(self, command):
        """What the command prints, line by line; fails when its exit code is not 0."""
        self.process.stdin.write(f"{command}\nprintf '\\001%d\\n' $?\n".encode())
        self.process.stdin.flush()
        got = b""

        def ended():
            nonlocal got
            got += self.process.stdout.read() or b""
            return got.endswith(b"\n") and b"\1" in got
        wait_until(ended, 60, lambda: f"the end of {command}; it printed {got}")
        text, code = got.decode().rsplit("\1", 1)
        assert int(code) == 0, f"{command}: exit code {int(code)}: {text}"
        return text.replace(self.home, "/home/ada").splitlines()


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## )", README, re.M | re.S)[1]


def blocks(text):
    return re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)


def steps(text):
    """(host, command, [line printed]) of every command behind a prompt."""
    found = []
    for line in "".join(b for b in blocks(text) if "$ " in b).splitlines():
        typed = re.match(r"(desk|laptop)\$ (.+)", line)
        if typed:
            found.append((*typed.groups(), []))
        elif found:
            found[-1][2].append(line)
    return found


def real(command, known):
    """The command with what was printed this time in place of what the text shows."""
    return TOKEN.sub(lambda t: known.get(t[0], t[0]), command)


def match(written, printed, known):
    """Whether a line is what the text says; learns what stands for what."""
    tokens = list(TOKEN.finditer(written))
    pattern, at = "", 0
    for token in tokens:
        pattern += re.escape(written[at:token.start()]) + f"({VARIABLE[token.lastgroup][1]})"
        at = token.end()
    found = re.fullmatch(pattern + re.escape(written[at:]) + " *", printed)
    if not found:
        return False
    for token, value in zip(tokens, found.groups()):
        if VARIABLE[token.lastgroup][2] and known.setdefault(token[0], value) != value:
            return False
    return True


def as_written(command, written, printed, known):
    """Whether all lines are what the text says. Of changes that were made at once, lanyard log may list any one first."""
    if "lanyard log" in command:
        by_path = lambda line: line.split()[-1:]
        written, printed = sorted(written, key=by_path), sorted(printed, key=by_path)
    learnt = dict(known)
    good = len(written) == len(printed) and all(match(w.rstrip(), p, learnt) for w, p in zip(written, printed))
    if good:
        known.update(learnt)
    return good


def follow(shell, command, written, known):
    typed, printed = real(command, known), []
    again = all(READS_ONLY.match(part) for part in typed.split(" && "))

    def good():
        printed[:] = shell.type(typed)
        return as_written(command, written, printed, known) or not again
    wait_until(good, 20, lambda: "\n".join([f"{command} does not print what README.md says, but:", *printed]))
    assert again or not written or printed, f"{command} printed nothing"
    if not again:
        assert as_written(command, written, printed, known), "\n".join([f"{command}: README.md does not say:", *printed])


@fixture
def net():
    if not os.path.isdir(LICENSES):
        raise Skip(f"there is no {LICENSES}")
    return network()


@test
def the_walk_through_prints_what_it_says():
    shells = {name: Shell(net().host(name), name) for name in ("desk", "laptop")}
    text = section("Two devices, step by step")
    for name in steps(text)[0][2]:
        os.makedirs(shells["desk"].home + "/Shared", exist_ok=True)
        shutil.copy(f"{LICENSES}/{name}", shells["desk"].home + "/Shared")
    known = {}
    assert len(steps(text)) > 20
    for host, command, written in steps(text):
        follow(shells[host], command, written, known)
    for shell in shells.values():
        shell.type("lanyard down")


@test
def two_nodes_on_one_machine():
    shell = Shell(net().host("alone"), "alone")
    lines = blocks(section("Two devices, step by step"))[-1].splitlines()
    assert len(lines) == 3 and "CODE" in lines[2], lines
    shell.type(lines[0])
    code = next(line for line in shell.type(lines[1]) if re.fullmatch(VARIABLE["code"][1], line))
    shell.type(lines[2].replace("CODE", code))
    shell.type("echo hello >A/hello && lanyard --home ~/a wait --peers 1 && lanyard --home ~/b wait --peers 1")
    wait_until(lambda: shell.type("cat B/hello || true") == ["hello"], 20, "the file in the other folder")
    shell.type("lanyard --home ~/b down && lanyard --home ~/a down")


@test
def installing_puts_programs_and_manuals_where_it_says():
    if BUILD != os.path.join(ROOT, "build"):
        raise Skip("the build to install is another one")
    there = temp_dir("root")
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    done = subprocess.run(["make", "install", f"DESTDIR={there}", "PREFIX=/opt"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    made = {os.path.relpath(os.path.join(d, n), there) for d, _, names in os.walk(there) for n in names}
    assert made == {"opt/bin/lanyard", "opt/bin/lanyardd", "opt/share/man/man1/lanyard.1", "opt/share/man/man8/lanyardd.8"}, made
    version = subprocess.run([f"{there}/opt/bin/lanyard", "--version"], capture_output=True, text=True)
    assert version.returncode == 0 and version.stdout == subprocess.run([LANYARD, "--version"], capture_output=True, text=True).stdout


tap.main()
