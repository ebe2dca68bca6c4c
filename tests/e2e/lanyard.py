"""Nodes, trees and TAP for the end-to-end tests: everything a test does goes through the programs, as a user would.

    from lanyard import group, same_trees, tap, test, write

    @test
    def an_edit_arrives():
        a, b = group("a", "b")              # made, joined, running, connected; removed behind the test
        write(a.folder, "x", b"hello")
        same_trees(a, b)

    tap.main()

A function under @test is one test; tests run in the order they stand. What @fixture makes lives until the end of the file. A test
that cannot run here raises Skip. Programs come from LANYARD_BUILD (default: build/ of this tree)."""
import atexit
import hashlib
import json as jsonlib
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LANYARD_BUILD", os.path.join(ROOT, "build"))
LANYARD, LANYARDD = os.path.join(BUILD, "lanyard"), os.path.join(BUILD, "lanyardd")
SLOW = float(os.environ.get("SLOW", "1"))           # stretches every deadline: a sanitized build, a loaded machine
READY = re.compile(r"^lanyard: ready, device (.+) \(([^)]+)\), listening on (\S+):(\d+)$", re.M)


class Skip(Exception):
    pass


class Failed(AssertionError):
    pass


def wait_until(cond, deadline, what):
    """Asks cond() until it is true and returns its value; after `deadline` seconds it fails with `what` (text, or a function that
    makes it). The only place that polls."""
    end = time.monotonic() + deadline * SLOW
    while True:
        value = cond()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {deadline * SLOW:g} s: {what() if callable(what) else what}")
        time.sleep(0.02)


# ---- what a test makes, and its end ----

class Lab:
    """Owns temporary directories, nodes and networks; close() ends and removes them, the last made first."""

    def __init__(self):
        self._closers, self.nodes, self._base = [], [], None

    @property
    def base(self):
        if not self._base:
            self._base = tempfile.mkdtemp(prefix="ly.")
            self.closing(lambda: shutil.rmtree(os.fsencode(self._base), onerror=make_removable))
        return self._base

    def closing(self, function):
        self._closers.append(function)

    def close(self):
        for node in self.nodes:
            node.kill9()
        while self._closers:
            self._closers.pop()()
        self.nodes, self._base = [], None

    def report(self):
        for node in self.nodes:
            node.report()


def make_removable(function, path, _):
    """For shutil.rmtree: a directory that a test made unreadable."""
    try:
        os.chmod(os.path.dirname(path), 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, 0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            function(path)
    except OSError:
        pass


_file_lab, _test_lab = Lab(), Lab()
_lab = _test_lab                                     # the one that what is made now belongs to


def temp_dir(name):
    path = os.path.join(_lab.base, name)
    os.makedirs(path)
    return path


def closing(function):
    """Has `function` called at the end of the test (of the file, within a fixture)."""
    _lab.closing(function)


def close():
    """Ends and removes everything; for programs that are no tests."""
    _test_lab.close()
    _file_lab.close()


def report():
    """What the nodes said last."""
    _test_lab.report()
    _file_lab.report()


def fixture(make):
    """make() runs at the first call; later calls return the same; what it made lives until the end of the file."""
    made = []

    def get():
        global _lab
        if not made:
            _lab = _file_lab
            try:
                made.append(make())
            finally:
                _lab = _test_lab
        return made[0]
    return get


# ---- nodes ----

class Done:
    """The end of a command: exit code, standard output and error (text; bytes of the output in .raw)."""

    def __init__(self, code, raw, err):
        self.code, self.raw = code, raw
        self.out, self.err = raw.decode("utf-8", "surrogateescape"), err.decode("utf-8", "replace")


def failed(done, code):
    """Checks that a command failed with this exit code as it should: one line on standard error, nothing on standard output."""
    assert done.code == code, f"exit code {done.code}, not {code}: {done.err}"
    assert done.err.startswith("lanyard: ") and done.err.count("\n") == 1 and not done.out, (done.out, done.err)


class Node:
    """One device: its home, its folder and, when it is up, its process. On `host` of netns.Net, or on this machine's loopback."""

    def __init__(self, home, folder, host=None, name="node"):
        self.home, self.folder, self.host, self.name = home, folder, host, name
        self.log = home + ".log"                     # standard output and error of `lanyard up`
        self.process, self.address, self.id = None, None, None
        _lab.nodes.append(self)

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LANYARD_", "XDG_", "DBUS_SESSION_"))}
        env.update(LANYARD_HOME=self.home, HOME=os.path.dirname(self.home), PATH=f"{BUILD}:{os.environ['PATH']}")
        if self.host:                                # the machine's avahi-daemon is not in this host's network
            env["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent/bus"
        return env

    def popen(self, *argv, **kw):
        start = self.host.popen if self.host else subprocess.Popen
        return start([os.fsencode(a) if not self.host else os.fsdecode(a) for a in argv], env=self.env(), **kw)

    def cli(self, *args, check=True, json=False, timeout=60, stdin=None):
        """Runs `lanyard ARGS`. Returns Done, or with json=True what it printed; a code that is not 0 fails unless check=False."""
        args = [*map(str, args), *(["--json"] if json else [])]
        process = self.popen(LANYARD, *args, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(stdin, timeout=timeout * SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"{self.name}: lanyard {' '.join(args)}: still running after {timeout * SLOW:g} s") from None
        done = Done(process.returncode, out, err)
        if check and done.code:
            raise Failed(f"{self.name}: lanyard {' '.join(args)}: exit code {done.code}: {done.err.strip()}")
        return jsonlib.loads(done.out) if json else done

    def init(self, *options):
        """Without a recovery phrase, which takes time to make; what is about it calls `lanyard init` by itself."""
        self.cli("init", "--no-recovery", "--name", self.name, *options, self.folder)
        return self

    def config(self, key, value):
        """For a node that is down: it holds from the next start on."""
        self.cli("config", "set", key, value)
        return self

    def invite(self, role=None, ttl=None):
        """The code of a new invite."""
        options = [*(["--role", role] if role else []), *(["--ttl", ttl] if ttl else [])]
        code = self.cli("invite", *options).out.split("\n")[0]
        if not re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}", code):
            raise Failed(f"invite printed {code!r} as its first line")
        return code

    def join(self, code, at=None, check=True, timeout=30):
        return self.cli("join", code, "--name", self.name, *(["--at", at] if at else []), self.folder, check=check, timeout=timeout)

    def up(self, *options, peers=(), mdns=None, deadline=30):
        """Starts the node in the foreground and returns when it is ready. Without a host: loopback, no mDNS unless mdns=True."""
        assert not self.running(), f"{self.name} is up already"
        address = f"{self.host.ip}:0" if self.host else "127.0.0.1:0"
        argv = [LANYARD, "up", "--listen", address, *options]
        if not (self.host if mdns is None else mdns):
            argv.append("--no-mdns")
        for peer in peers:
            argv += ["--peer", peer.address if isinstance(peer, Node) else peer]
        with open(self.log, "ab") as log:
            start = log.tell()
            self.process = self.popen(*argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        ready = wait_until(lambda: self._ready(start), deadline, f"{self.name} ready")
        self.id, self.address = ready[2], f"{ready[3]}:{ready[4]}"
        return self

    def _ready(self, start):
        with open(self.log, "rb") as log:
            log.seek(start)
            text = log.read().decode("utf-8", "replace")
        found = READY.search(text)
        if not found and self.process.poll() is not None:
            raise Failed(f"{self.name}: lanyard up ended with exit code {self.process.returncode}: {text.strip()[-500:]}")
        return found

    def running(self):
        return self.process is not None and self.process.poll() is None

    def down(self, deadline=20):
        self.cli("down")
        wait_until(lambda: self.process.poll() is not None, deadline, f"{self.name} down")
        if self.process.returncode:
            raise Failed(f"{self.name}: exit code {self.process.returncode} after down")
        return self

    def signal(self, number):
        for pid in descendants(self.process.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill9(self):
        if self.running():
            self.signal(signal.SIGKILL)
            self.process.wait()
        return self

    def status(self):
        return self.cli("status", json=True)

    def wait(self, timeout=30, peers=1):
        self.cli("wait", "--timeout", int(timeout * SLOW), "--peers", peers, timeout=timeout + 30)
        return self

    def settle(self, peers=1, timeout=30):
        """Everything that was done to the folder up to now is recorded and exchanged."""
        self.cli("scan")
        return self.wait(timeout, peers)

    def events(self):
        return [jsonlib.loads(line) for line in self.cli("events", "--json").out.splitlines()]

    def report(self):
        """What the node is doing and the end of what it said, as TAP comments."""
        if self.running():
            try:
                comment(f"---- {self.name}: {self.cli('status', json=True, check=False, timeout=5)}")
            except (Failed, ValueError) as silent:
                comment(f"---- {self.name}: no status: {silent}")
        for path in (self.log, os.path.join(self.home, "log")):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    lines = f.read().decode("utf-8", "replace").splitlines()
                comment(f"---- {self.name}: {path}, its last lines of {len(lines)}", *lines[-60:])


def descendants(pid):
    """The process and all below it, children first; who ends meanwhile may be missing."""
    children = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):     # a child belongs to the thread that made it
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                children += [int(c) for c in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return [d for c in children for d in descendants(c)] + [pid]


_net = None                                          # of on_hosts()


def on_hosts():
    """From here on every node has a host of its own, on a network that the tests of this file share; all are on loopback where there can
    be none."""
    global _net
    import netns
    if netns.available()[0]:
        _net = netns.Net()
        _file_lab.closing(_net.close)


def node(name, host=None):
    if not host and _net:
        host = _net.host(f"h{len(_file_lab.nodes) + len(_test_lab.nodes)}")
    base = os.path.join(_lab.base, f"{name}{len(_lab.nodes)}")
    os.makedirs(base)
    return Node(os.path.join(base, "home"), os.path.join(base, "folder"), host, name)


def group(*names, net=None, mdns=False, fill=None):
    """Nodes of one group, up and connected; with a netns.Net each on a host of its own. fill(folder) puts files before the start."""
    nodes = [node(name, net.host(name) if net else None) for name in names]
    first = nodes[0].init()
    if fill:
        fill(first.folder)
    first.up(mdns=mdns)
    for i, other in enumerate(nodes[1:], 1):
        other.join(first.invite(), at=None if mdns else first.address)
        other.up(mdns=mdns, peers=() if mdns else nodes[:i])
    for each in nodes:
        each.wait(60, len(nodes) - 1)
    return nodes


def network():
    """A netns.Net that ends with the test; Skip when there can be none here."""
    import netns
    possible, reason = netns.available()
    if not possible:
        raise Skip(reason)
    net = netns.Net()
    closing(net.close)
    return net


def received(host):
    """Bytes that have come in over the host's eth0."""
    return int(host.run(["cat", "/sys/class/net/eth0/statistics/rx_bytes"]))


def need_root(why):
    if os.geteuid():
        raise Skip(f"needs root: {why}")


def mount_tmpfs(top, size):
    """Mounts a small file system, for as long as the test runs."""
    need_root("mounts a small file system")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "lanyard-test", top], capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"no mount here: {done.stderr.strip()}")
    closing(lambda: subprocess.run(["umount", "-l", top], check=True))


def in_error(n, words, deadline=60):
    """Waits for state error with a reason that matches `words`."""
    def look():
        status = n.status()
        return status if status["state"] == "error" else None
    status = wait_until(look, deadline, lambda: f"state error; it is {n.status()['state']!r}")
    assert status["error"] and re.search(words, status["error"], re.I), status["error"]


def well_again(n, deadline=60):
    """Waits until it is idle, without an error and by itself."""
    wait_until(lambda: n.status()["state"] == "idle" and n.status()["error"] is None, deadline,
               lambda: f"state idle by itself; it is {n.status()['state']!r}: {n.status()['error']}")


# ---- trees ----

def path_of(folder, path):
    return os.path.join(os.fsencode(folder), os.fsencode(path))


def write(folder, path, data=b"", mode=None, mtime_ns=None):
    """Writes a file in the folder as most editors do: a new file renamed over the old one's name. Makes its directories."""
    full = path_of(folder, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    temp = full if os.path.ismount(folder) else os.path.join(os.path.dirname(os.fsencode(folder)), b"write.tmp")
    with open(temp, "wb") as f:
        f.write(data)
        if mode is not None:
            os.fchmod(f.fileno(), mode)
    if mtime_ns is not None:
        os.utime(temp, ns=(mtime_ns, mtime_ns))
    if temp != full:
        os.rename(temp, full)


def read(folder, path):
    with open(path_of(folder, path), "rb") as f:
        return f.read()


def exists(folder, path):
    return os.path.lexists(path_of(folder, path))


def is_file_with(folder, path, data):
    """Whether the file is there with this content; for wait_until."""
    try:
        return read(folder, path) == data
    except OSError:
        return False


def kept(n, path):
    """The contents of all versions of a path that can be had, however the node keeps them: it packs what is kept when it is idle."""
    done = [n.cli("cat", path, "--version", v["version"], check=False) for v in n.cli("log", path, json=True) if v["kind"] == "file"]
    return {d.raw for d in done if d.code == 0}


def tree_digest(folder, content=True):
    """{path: (kind, mode, mtime_ns, size, sha256)} of all in the folder but .lanyard. Times only of files: those of a directory
    follow from what happens in it. A symlink has its target in place of the hash."""
    found = {}

    def walk(prefix):
        with os.scandir(os.path.join(os.fsencode(folder), prefix)) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                path = prefix + entry.name
                if path == b".lanyard":
                    continue
                st = entry.stat(follow_symlinks=False)
                mode = stat.S_IMODE(st.st_mode)
                if stat.S_ISLNK(st.st_mode):
                    found[path] = ("symlink", None, None, None, os.readlink(entry.path))
                elif stat.S_ISDIR(st.st_mode):
                    found[path] = ("dir", mode, None, None, None)
                    walk(path + b"/")
                elif stat.S_ISREG(st.st_mode):
                    found[path] = ("file", mode, st.st_mtime_ns, st.st_size, sha256(entry.path) if content else None)
                else:
                    found[path] = ("special", None, None, None, None)
    walk(b"")
    return found


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def differences(left, right, names=("left", "right")):
    """Lines that say where two digests differ, at most 20."""
    lines = []
    for path in sorted(left.keys() | right.keys()):
        if left.get(path) != right.get(path):
            lines.append(f"{path!r}: {names[0]} {left.get(path, 'nothing')}, {names[1]} {right.get(path, 'nothing')}")
    return lines[:20] + ([f"... {len(lines)} in all"] if len(lines) > 20 else [])


def same_trees(*nodes, timeout=30, under=None, coarse=False):
    """Waits until the folders of the nodes (or what is under a directory of them) are equal, contents too; returns their digest. coarse:
    without modes and times, where a file system does not store them as they are."""
    def look(n, content):
        digest = tree_digest(n.folder, content)
        if coarse:
            digest = {p: (e[0], e[3], e[4]) for p, e in digest.items()}
        return digest if under is None else {p: e for p, e in digest.items() if p.startswith(os.fsencode(under) + b"/")}

    def equal():
        try:
            quick = [look(n, False) for n in nodes]
            if any(q != quick[0] for q in quick):
                return None
            full = [look(n, True) for n in nodes]
        except FileNotFoundError:       # it changes while we look
            return None
        return full[:1] if all(f == full[0] for f in full) else None

    def unequal():
        first = look(nodes[0], True)
        lines = [line for n in nodes[1:] for line in differences(first, look(n, True), (nodes[0].name, n.name))]
        return "equal trees of " + ", ".join(n.name for n in nodes) + ":\n" + "\n".join(lines)
    return wait_until(equal, timeout, unequal)[0]


def random_bytes(seed, size):
    """Incompressible bytes that follow from the seed."""
    rand = random.Random(seed)
    return b"".join(rand.randbytes(min(1 << 24, size - at)) for at in range(0, size, 1 << 24))


def make_tree(folder, seed, files=50, dirs=8, biggest=100_000):
    """Fills a folder with a tree that follows from the seed alone (times too): nested directories, sizes from nothing to biggest."""
    rand = random.Random(seed)
    places = [b""]
    for i in range(dirs):
        places.append(rand.choice(places) + b"dir%d/" % i)
        os.makedirs(os.path.join(os.fsencode(folder), places[-1]), exist_ok=True)
    for i in range(files):
        size = rand.choice((0, 1, rand.randrange(1000), rand.randrange(biggest)))
        write(folder, rand.choice(places) + b"file%d" % i, rand.randbytes(size), rand.choice((0o644, 0o600, 0o755)),
              1_500_000_000_000_000_000 + rand.randrange(10**17))


# ---- TAP ----

def comment(*lines):
    for line in lines:
        print("# " + line.replace("\n", "\n# "))


class Tap:
    def __init__(self):
        self.tests, self.failed = [], 0

    def test(self, function):
        self.tests.append(function)
        return function

    def run(self, number, function):
        name = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok {number} - {name}")
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}")
        except Exception as e:          # a test may fail in any way, and the next one is still to run
            self.failed += 1
            print(f"not ok {number} - {name}")
            trace = traceback.format_exception(type(e), e, e.__traceback__)
            comment(*"".join(trace[-4:]).rstrip().encode("utf-8", "backslashreplace").decode().splitlines())
            report()
        finally:
            _test_lab.close()
            sys.stdout.flush()

    def main(self):
        """Runs the tests; `test_x.py PATTERN` only those whose name contains PATTERN."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        atexit.register(_file_lab.close)
        atexit.register(_test_lab.close)
        chosen = [t for t in self.tests if all(p in t.__name__ for p in sys.argv[1:])]
        print(f"1..{len(chosen)}", flush=True)
        for number, function in enumerate(chosen, 1):
            self.run(number, function)
        _file_lab.close()
        sys.exit(1 if self.failed else 0)


tap = Tap()
test = tap.test
