#!/usr/bin/env python3
"""The command line against a fake node: what it asks, what it prints, how it ends.

A FakeNode listens on the control socket of a temporary home and answers each request with what the test wants; a fake lanyardd
records how it was called. The frames and msgpack are written out here once more, so that both sides cannot be wrong alike.
LANYARD_BUILD names the build directory (default: build/). Prints TAP.
"""
import json
import os
import pty
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("LANYARD_BUILD", "build"))
LANYARD = os.path.join(BUILD, "lanyard")
LIMIT = 60  # seconds until a command counts as hung


# ---- msgpack, the part that is used ----

def pack(v):
    if v is None or isinstance(v, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[v]
    if isinstance(v, int):
        if v < 0:
            return b"\xd3" + struct.pack(">q", v)
        return bytes([v]) if v < 128 else b"\xcf" + struct.pack(">Q", v)
    if isinstance(v, str):
        b = v.encode()
        return (bytes([0xa0 | len(b)]) if len(b) < 32 else b"\xdb" + struct.pack(">I", len(b))) + b
    if isinstance(v, bytes):
        return b"\xc6" + struct.pack(">I", len(v)) + v
    if isinstance(v, list):
        return b"\xdd" + struct.pack(">I", len(v)) + b"".join(map(pack, v))
    return b"\xdf" + struct.pack(">I", len(v)) + b"".join(pack(k) + pack(x) for k, x in v.items())


def unpack(b, i=0):
    """The object at b[i:] and the offset behind it."""
    c = b[i]
    widths = {0xc4: 1, 0xc5: 2, 0xc6: 4, 0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4}
    if c < 0x80:
        return c, i + 1
    if c in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[c], i + 1
    if 0xcc <= c <= 0xcf:
        n = 1 << (c - 0xcc)
        return int.from_bytes(b[i + 1:i + 1 + n], "big"), i + 1 + n
    if c in widths:
        n = int.from_bytes(b[i + 1:i + 1 + widths[c]], "big")
        i += 1 + widths[c]
        kind = "bin" if c <= 0xc6 else "str" if c <= 0xdb else "array" if c <= 0xdd else "map"
    else:
        n = c & (31 if c >= 0xa0 else 15)
        i += 1
        kind = "map" if c < 0x90 else "array" if c < 0xa0 else "str"
    if kind in ("bin", "str"):
        return (b[i:i + n] if kind == "bin" else b[i:i + n].decode()), i + n
    items = []
    for _ in range(n * (2 if kind == "map" else 1)):
        item, i = unpack(b, i)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if kind == "map" else items), i


def frame(v):
    b = pack(v)
    return struct.pack("<I", len(b)) + b


def reply(value=None, code=0, text="", more=False):
    return frame([1, code, text, more, value])


def receive(conn):
    """One whole request as (command, arguments)."""
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack("<I", data[:4])[0]:
        piece = conn.recv(65536)
        if not piece:
            return None
        data += piece
    request, end = unpack(data[4:])
    assert end == len(data) - 4 and len(request) == 3 and request[0] == 1, request
    return request[1], request[2]


# ---- the fake node and the fake lanyardd ----

class FakeNode:
    """answers: by command, the bytes to send, or a function of (connection, arguments)."""

    def __init__(self, home, **answers):
        self.path = os.path.join(home, "control.sock")
        self.answers = answers
        self.requests = []
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(8)
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self.thread.join(LIMIT)

    def stop(self):
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return
        self.server.shutdown(socket.SHUT_RDWR)

    def serve(self):
        while True:
            try:
                conn, _ = self.server.accept()
            except OSError:
                self.server.close()
                return
            with conn:
                request = receive(conn)
                if not request:
                    continue
                self.requests.append(request)
                answer = self.answers.get(request[0], reply(code=2, text="no such command"))
                try:
                    if callable(answer):
                        answer(conn, request[1])
                    else:
                        conn.sendall(answer)
                except BrokenPipeError:
                    pass

    def asked(self, command):
        return [args for name, args in self.requests if name == command]


FAKE_LANYARDD = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["FAKE_RECORD"], "w") as f:
    json.dump({"argv": sys.argv[1:], "pid": os.getpid(), "sid": os.getsid(0)}, f)
sys.stdout.write(os.environ.get("FAKE_OUT", ""))
sys.stdout.flush()
sys.stderr.write(os.environ.get("FAKE_ERR", ""))
sys.stderr.flush()
sys.exit(int(os.environ.get("FAKE_CODE", "0")))
"""


class Result:
    def __init__(self, p):
        self.code, self.out, self.err = p.returncode, p.stdout, p.stderr.decode()

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return "code %d, stdout %r, stderr %r" % (self.code, self.out[-2000:], self.err)


class Place:
    """A temporary directory with a home, a folder, and a user's home; removed afterwards."""

    def __enter__(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="lanyard-cli-"))
        self.home, self.folder, self.user, self.bin = (os.path.join(self.dir, n) for n in ("h", "folder", "user", "bin"))
        for d in (self.home, self.folder, self.user, self.bin):
            os.mkdir(d)
        self.env = {"PATH": os.environ["PATH"], "HOME": self.user, "LANYARD_HOME": self.home, "TERM": "xterm",
                    "FAKE_RECORD": os.path.join(self.dir, "record"),
                    **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}}
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir)

    def run(self, *args, program=LANYARD, cwd=None, env=None, **kw):
        return Result(subprocess.run([program, *args], env={**self.env, **(env or {})}, cwd=cwd or self.dir,
                                     stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, **kw))

    def start(self, *args, **kw):
        return subprocess.Popen([LANYARD, *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)

    def node(self, **answers):
        answers.setdefault("status", reply(self.status()))
        return FakeNode(self.home, **answers)

    def with_daemon(self):
        """A copy of lanyard with a fake lanyardd beside it."""
        copy = os.path.join(self.bin, "lanyard")
        shutil.copy(LANYARD, copy)
        self.write_daemon(self.bin)
        return copy

    @staticmethod
    def write_daemon(where):
        path = os.path.join(where, "lanyardd")
        with open(path, "w") as f:
            f.write(FAKE_LANYARDD)
        os.chmod(path, 0o755)

    def record(self):
        with open(self.env["FAKE_RECORD"]) as f:
            return json.load(f)

    def status(self, **more):
        peer = {"id": "cd" * 32, "name": "desk", "role": "member", "online": True, "via": "lan", "address": "10.0.0.2:7447",
                "last_seen": "2026-01-31T13:45:00Z", "in_sync": False, "missing": {"files": 2, "bytes": 1288490189}}
        away = {**peer, "id": "ef" * 32, "name": "attic", "online": False, "via": None, "address": None, "last_seen": None,
                "missing": None}
        return {"device": {"id": "ab" * 32, "name": "läptop", "role": "owner"}, "group": {"id": "12" * 32},
                "folder": self.folder.encode(), "listen": "0.0.0.0:7447", "state": "syncing", "error": None, "files": 1234,
                "bytes": 5 << 30, "pending": {"files": 10, "bytes": 2048}, "conflicts": 1, "ignored_errors": 0,
                "peers": [peer, away], "required": None, **more}


VERSION = {"version": "v2", "path": b"a.txt", "kind": "file", "size": 1536, "time": "2026-01-31T13:45:00Z", "device": "desk",
           "current": True, "conflict": False, "available": "here"}
OLD = {**VERSION, "version": "v1", "size": 0, "current": False, "conflict": True}


def plain(v):
    """A value as --json shows it: bytes become strings."""
    if isinstance(v, bytes):
        return v.decode("utf-8", "surrogateescape")
    if isinstance(v, list):
        return [plain(x) for x in v]
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    return v


def expect(cond, *what):
    if not cond:
        raise AssertionError(" ".join(map(str, what)))


def same(a, b, *what):
    expect(a == b, a, "is not", b, *what)


def failed(r, code, words):
    """The exit code, nothing on stdout, one line on stderr that begins with the program's name."""
    expect(r.code == code and not r.out, "expected", code, "got", r)
    expect(re.fullmatch(r"lanyard: [^\n]+\n", r.err) and words in r.err, words, "not in", r)


def silent(r):
    expect(r.code == 0 and not r.out and not r.err, r)


def commands():
    with Place() as p:
        text = p.run("help").out.decode()
    return re.findall(r"^  ([a-z]+)  ", text.split("commands:\n")[1].split("\n\n")[0], re.M)


# ---- help and usage ----

def test_help_of_every_command():
    with Place() as p:
        names = commands()
        expect(len(names) >= 20, names)
        for name in names:
            r = p.run(name, "--help")
            expect(r.code == 0 and r.out.startswith(b"usage: lanyard " + name.encode()) and not r.err, name, r)
            same(p.run("help", name).out, r.out)
            same(p.run("-h", name).out, r.out)
        for args in (["help"], ["--help"], ["-h"]):
            expect(p.run(*args).out.startswith(b"usage: lanyard "), args)
        same(p.run("--version").out, p.run("status", "--version").out)


def test_man_page_is_complete():
    with open(os.path.join(ROOT, "docs", "lanyard.1")) as f:
        page = re.sub(r"\\f[BIR]", "", f.read().replace("\\-", "-"))
    head, *sections = re.split(r"^\.SS ", page, flags=re.M)
    with Place() as p:
        for name in commands():
            usage = p.run(name, "--help").out.decode()
            mine = [s for s in sections if re.match(r"lanyard %s\b" % name, s)]
            expect(len(mine) == 1, "no section, or several, of", name)
            same(mine[0].split("\n")[0], usage.split("\n")[0].removeprefix("usage: "))
            for option in re.findall(r"^  (--[a-z-]+)", usage, re.M):
                where = head if option in ("--home", "--json", "--help") else mine[0]
                expect(re.search(r"^\.[A-Z]+ %s\b" % option, where, re.M), name, option, "is not in the man page")


def test_man_page_has_no_warnings():
    if shutil.which("groff"):
        r = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", os.path.join(ROOT, "docs", "lanyard.1")], capture_output=True)
        expect(r.returncode == 0 and not r.stderr, r.stderr)


def test_wrong_usage():
    with Place() as p:
        for args, words in [
                ([], "no command"), (["statsu"], 'did you mean "status"?'), (["xyzzy"], '"xyzzy"'), (["help", "jion"], '"join"'),
                (["status", "--wacth"], "did you mean --watch?"), (["status", "extra"], '"extra"'), (["--hom", "x"], "--home?"),
                (["cat"], "missing"), (["cat", "a", "b"], '"b"'), (["cat", "a", "--json"], "no --json"), (["join"], "missing"),
                (["up", "--json"], "no --json"), (["up", "--peer", "nowhere"], "HOST:PORT"), (["up", "--listen", "a:70000"], "a:70000"),
                (["up", "--peer", "fe80::1:7447"], "["), (["join", "CODE", "--at", "host:"], "host:"), (["join", "C", "f", "g"], '"g"'),
                (["init", "--name", ""], "--name"), (["init", ""], "folder"), (["invite", "--role", "owner"], "member, admin or reader"),
                (["invite", "--ttl", "soon"], "soon"), (["invite", "--ttl", "0"], "--ttl"), (["wait", "--timeout", "1x"], "1x"),
                (["wait", "--timeout"], "lacks its value"), (["wait", "--peers", "-1"], "-1"), (["wait", "--peers", "many"], "many"),
                (["restore", "a", "--at", "yesterday"], "yesterday"), (["restore", "a", "--at", "1h", "--version", "v"], "one of them"),
                (["resolve", "a"], "--keep"), (["config", "frob"], "frob"), (["config", "get"], "config get KEY"),
                (["config", "set", "k"], "KEY VALUE"), (["log", "--limit", "x"], "--limit"), (["--home", "", "status"], "empty")]:
            failed(p.run(*args), 2, words)


def test_not_running():
    with Place() as p:
        for args in (["status"], ["status", "--watch"], ["wait"], ["scan"], ["pause"], ["resume"], ["devices"], ["invite"], ["log"],
                     ["log", "a"], ["cat", "a"], ["restore", "a"], ["conflicts"], ["resolve", "a", "--keep", "v"], ["events"], ["down"]):
            failed(p.run(*args), 4, "the node is not running: start it with lanyard up")
        gone = socket.socket(socket.AF_UNIX)  # a socket that nobody listens to any more
        gone.bind(os.path.join(p.home, "control.sock"))
        gone.close()
        failed(p.run("status", "--json"), 4, "not running")
        failed(p.run("--home", p.home + "/absent", "status"), 4, "not running")
        failed(p.run("--home", p.home + "/" + "x" * 100, "status"), 1, "shorter --home")


def test_where_the_home_is():
    with Place() as p:
        other = os.path.join(p.user, ".local", "share", "lanyard")
        os.makedirs(other)
        with FakeNode(other, pause=reply()) as node:
            failed(p.run("pause"), 4, "not running")
            silent(p.run("pause", "--home", other))
            silent(p.run("--home=" + other, "pause"))
            silent(p.run("pause", env={"LANYARD_HOME": ""}))
            silent(p.run("pause", env={"LANYARD_HOME": "", "HOME": "/", "XDG_DATA_HOME": os.path.dirname(other)}))
            same(len(node.requests), 4)


# ---- what is asked and shown ----

JSON_COMMANDS = {
    "wait": None, "scan": {"files": 3, "changed": 1, "errors": 0}, "pause": None, "resume": None, "conflicts": [],
    "devices": [{"id": "ab" * 32, "name": "x", "role": "owner", "revoked": False, "this": True, "added": "2026-01-31T13:45:00Z"}],
    "invite": {"code": "ABCDE-FGHJK", "role": "member", "until": "2026-01-31T13:45:00Z"}, "log": [VERSION, OLD],
    "config": [{"key": "k", "value": True, "default": -5, "type": "bool", "help": "h"}],
    "version": {"version": "9.9", "protocol": 1, "libraries": {"a": "1"}},
}


def test_json_is_what_the_node_sent():
    with Place() as p:
        with p.node(**{k: reply(v) for k, v in JSON_COMMANDS.items()}):
            for name, value in {**JSON_COMMANDS, "status": p.status()}.items():
                for args in ([name, "--json"], ["--json", name]):
                    r = p.run(*args)
                    expect(r.code == 0 and not r.err and r.out.count(b"\n") == 1, args, r)
                    same(json.dumps(r.json()), json.dumps(plain(value)), "order of keys included")


def test_json_loses_no_byte():
    with Place() as p:
        rnd = random.Random(1)
        paths = [bytes(rnd.choice((rnd.randrange(256), 0x41, 0xe2, 0x82, 0xac)) for _ in range(rnd.randrange(40))) for _ in range(500)]
        paths += [bytes([a, b]) for a in range(0, 256, 5) for b in range(0, 256, 3)]
        with p.node(log=reply([{**VERSION, "path": path} for path in paths])):
            got = p.run("log", "--json").json()
        same([v["path"].encode("utf-8", "surrogateescape") for v in got], paths)


def test_large_reply():
    with Place() as p:
        rows = [{**VERSION, "version": str(i), "path": b"x" * 300} for i in range(20000)]
        with p.node(log=reply(rows)):
            same(p.run("log", "--json").json(), plain(rows))
            same(p.run("log").out.count(b"\n"), 20001)


def test_status_for_people():
    with Place() as p:
        with p.node():
            out = p.run("status").out.decode()
        for words in ("läptop (owner)", p.folder, "syncing", "1,234, 5.0 GiB", "10, 2.0 KiB", "desk ", "1.2 GiB", "offline", "behind"):
            expect(words in out, words, "not in", out)
        lines = out.split("\n")
        title = next(line for line in lines if line.startswith("PEER"))
        desk, attic = (next(line for line in lines if line.startswith(name)) for name in ("desk", "attic"))
        expect(desk.index("10.0.0.2") == attic.index("-", title.index("ADDRESS")) == title.index("ADDRESS"), out)
        with p.node(status=reply(p.status(error="disk full", state="error", conflicts=0, pending={"files": 0, "bytes": 0}, peers=[]))):
            out = p.run("status").out.decode()
        expect("disk full" in out and "PEER" not in out and "to fetch" not in out, out)


def test_tables_for_people():
    with Place() as p:
        conflict = {"path": b"a.txt", "current": VERSION, "losers": [OLD, OLD]}
        with p.node(**{k: reply(v) for k, v in {**JSON_COMMANDS, "conflicts": [conflict]}.items()}):
            same(len(p.run("conflicts").out.splitlines()), 4)
            expect(b"1.5 KiB" in p.run("log").out)
            expect(b"owner" in p.run("devices").out)
            expect(b"DEFAULT" in p.run("config").out)
            same(p.run("scan").out, b"files    3\nchanged  1\nerrors   0\n")
            expect(b"9.9" in p.run("version").out)
            for name in ("wait", "pause", "resume"):
                silent(p.run(name))


def test_arguments_reach_the_node():
    with Place() as p:
        names = ["wait", "invite", "resume", "log", "restore", "resolve", "config", "events"]
        with p.node(**{n: reply({"path": b"x", "version": "v", "device": "d"}) for n in names}) as node:
            for args, command, wanted in [
                    (["wait"], "wait", {}), (["wait", "--timeout", "1.5", "--peers", "2"], "wait", {"timeout_ms": 1500, "peers": 2}),
                    (["wait", "--timeout=2m"], "wait", {"timeout_ms": 120000}), (["resume"], "resume", {"accept_deletions": False}),
                    (["resume", "--accept-deletions"], "resume", {"accept_deletions": True}),
                    (["invite"], "invite", {"role": "member", "ttl_s": 900, "wait": False}),
                    (["invite", "--role", "admin", "--ttl", "2h", "--wait"], "invite", {"role": "admin", "ttl_s": 7200, "wait": True}),
                    (["log"], "log", {}), (["log", "--limit", "7", "a"], "log", {"path": b"a", "limit": 7}),
                    (["restore", "a", "--version", "v1", "--to", "b"], "restore", {"path": b"a", "version": "v1", "to": b"b"}),
                    (["restore", "a", "--at", "1970-01-01T00:00:05Z"], "restore", {"path": b"a", "at": 5000}),
                    (["resolve", "a", "--keep", "v1"], "resolve", {"path": b"a", "keep": "v1"}),
                    (["resolve", "--keep", "v1", "--", "--x"], "resolve", {"path": b"--x", "keep": "v1"}),
                    (["config"], "config", {"op": "list"}), (["config", "get", "k"], "config", {"op": "get", "key": "k"}),
                    (["config", "set", "k", "v"], "config", {"op": "set", "key": "k", "value": "v"}),
                    (["events", "--follow"], "events", {"follow": True}), (["events"], "events", {"follow": False})]:
                same(p.run(*args).code, 0, args)
                same(node.asked(command)[-1], wanted, args)


def test_paths_are_in_the_folder():
    with Place() as p:
        sub = os.path.join(p.folder, "sub")
        link = os.path.join(p.dir, "link")
        os.mkdir(sub)
        os.symlink(p.folder, link)
        os.symlink("/etc/passwd", os.path.join(p.folder, "out"))
        with p.node(log=reply([])) as node:
            for typed, cwd, wanted in [
                    ("a", p.dir, b"a"), ("a", sub, b"sub/a"), ("../a", sub, b"a"), (p.folder + "/x/gone", p.dir, b"x/gone"),
                    (link + "/sub/y", p.dir, b"sub/y"), (link + "/gone/y", p.dir, b"gone/y"), ("y", link + "/sub", b"sub/y"),
                    (link + "/out", p.dir, b"out"), (b"\xff\xfe", p.dir, b"\xff\xfe"), (".", p.folder, None), (".", sub, b"sub")]:
                same(p.run("log", typed, cwd=cwd).code, 0, typed)
                same(node.asked("log")[-1].get("path"), wanted, typed, cwd)
            failed(p.run("log", "/etc/passwd"), 2, "not in the folder")
            failed(p.run("log", "../.."), 2, "not in the folder")
            failed(p.run("cat", p.folder), 2, "the folder itself")
            failed(p.run("restore", "a", "--to", "/tmp/b"), 2, "not in the folder")


def test_cat_is_exact():
    with Place() as p:
        content = random.Random(2).randbytes(3000000)
        pieces = [content[i:i + 131072] for i in range(0, len(content), 131072)]
        with p.node(cat=b"".join(reply(x, more=True) for x in pieces) + reply()) as node:
            r = p.run("cat", "a", "--version", "v1")
            expect(r.code == 0 and r.out == content, r.code, len(r.out))
            same(node.asked("cat"), [{"path": b"a", "version": "v1"}])
        with p.node(cat=reply(b"some", more=True) + reply(code=1, text="block is gone: start a device that has it")):
            r = p.run("cat", "a")
            expect(r.code == 1 and r.out == b"some" and r.err == "lanyard: block is gone: start a device that has it\n", r)


def test_invite():
    with Place() as p:
        code = {"code": "ABCDE-FGHJK", "role": "member", "until": "2026-01-31T13:45:00Z"}
        joined = {"id": "cd" * 32, "name": "desk"}
        with p.node(invite=reply(code)):
            r = p.run("invite")
            expect(r.code == 0 and r.out == b"ABCDE-FGHJK\n" and "lanyard join" in r.err, r)
        with p.node(invite=reply(code, more=True) + reply(joined)):
            same(p.run("invite", "--wait").out.decode(), "ABCDE-FGHJK\njoined desk (%s)\n" % ("cd" * 32))
            same([json.loads(x) for x in p.run("invite", "--wait", "--json").out.splitlines()], [code, joined])
        with p.node(invite=reply(code, more=True) + reply(code=3, text="nobody joined: make a new code")):
            r = p.run("invite", "--wait", "--json")
            expect(r.code == 3 and r.json() == code and "nobody joined" in r.err, r)


def test_invite_shows_the_code_at_once():
    with Place() as p:
        shown = threading.Event()

        def answer(conn, _):
            conn.sendall(reply({"code": "ABCDE-FGHJK", "role": "member", "until": "x"}, more=True))
            expect(shown.wait(LIMIT))
            conn.sendall(reply({"id": "x", "name": "desk"}))
        with p.node(invite=answer):
            proc = p.start("invite", "--wait")
            same(proc.stdout.readline(), b"ABCDE-FGHJK\n")
            shown.set()
            same(proc.communicate(timeout=LIMIT)[0], b"joined desk (x)\n")


def test_config_value():
    with Place() as p:
        for value, shown in ((True, b"true\n"), (17, b"17\n"), ("text", b"text\n"), (-3, b"-3\n")):
            with p.node(config=reply({"key": "k", "value": value, "default": None, "type": "t", "help": "h"})):
                same(p.run("config", "get", "k").out, shown)
                same(p.run("config", "get", "k", "--json").json()["value"], value)
                silent(p.run("config", "set", "k", "v"))


def test_events_come_one_a_line():
    with Place() as p:
        seen = threading.Event()

        def answer(conn, _):
            conn.sendall(reply({"event": "one"}, more=True))
            expect(seen.wait(LIMIT))
            conn.sendall(reply({"event": "two"}, more=True) + reply())
        with p.node(events=answer):
            proc = p.start("events", "--follow")
            same(json.loads(proc.stdout.readline()), {"event": "one"})
            seen.set()
            out, err = proc.communicate(timeout=LIMIT)
            expect(json.loads(out) == {"event": "two"} and proc.returncode == 0 and not err, out, err)


def test_version_without_a_node():
    with Place() as p:
        v = p.run("version", "--json").json()
        expect(v["version"] and v["protocol"] == 1 and v["libraries"]["libsodium"], v)
        same(p.run("--version").out.decode(), "lanyard %s\n" % v["version"])


# ---- how it ends ----

def test_exit_codes_and_texts_are_passed_on():
    with Place() as p:
        for code in range(1, 7):
            with p.node(wait=reply(code=code, text="no: try again")):
                failed(p.run("wait"), code, "lanyard: no: try again")
        with p.node(wait=reply(code=5)):
            failed(p.run("wait", "--json"), 5, "without a reason")
        with p.node(wait=reply(code=1, text="a\nb\x1b[31m\x7f")):
            r = p.run("wait")
            expect(r.err.count("\n") == 1 and "\x1b" not in r.err and "\x7f" not in r.err, r)


def test_broken_replies():
    with Place() as p:
        for answer in (b"", b"\x05\0\0\0abc", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x02\0\0\0\xc0\xc0", frame([1, 0, "", False]),
                       frame([2, 0, "", False, None]), frame([1, 999, "", False, None]), frame([1, 0, b"", False, None]),
                       b"\x05\0\0\0\xdd\x0f\xff\xff\xff"):
            with p.node(status=answer):
                failed(p.run("status"), 1, "")
        with p.node(status=reply([1, 2])):  # well formed, but not what was asked for
            expect(p.run("status").code == 0)
            failed(p.run("cat", "a"), 1, "folder")


def test_interrupt():
    with Place() as p:
        asked, done = threading.Event(), threading.Event()

        def answer(_conn, _args):
            asked.set()
            done.wait(LIMIT)
        with p.node(wait=answer):
            proc = p.start("wait")
            expect(asked.wait(LIMIT))
            proc.send_signal(signal.SIGINT)
            out, err = proc.communicate(timeout=LIMIT)
            done.set()
        expect(proc.returncode == -signal.SIGINT and not out and not err, proc.returncode, out, err)


def test_closed_pipe_is_quiet():
    with Place() as p:
        done = threading.Event()

        def answer(conn, _):
            while not done.is_set():
                conn.sendall(reply({"event": "x"}, more=True))
        with p.node(events=answer):
            proc = p.start("events", "--follow")
            proc.stdout.readline()
            proc.stdout.close()
            err = proc.stderr.read()
            code = proc.wait(LIMIT)
            done.set()
        expect(code == -signal.SIGPIPE and not err, code, err)


def test_full_disk_is_told():
    with Place() as p, open("/dev/full", "w") as full:
        r = subprocess.run([LANYARD, "help"], stdout=full, stderr=subprocess.PIPE, env=p.env, timeout=LIMIT)
        expect(r.returncode == 1 and r.stderr.startswith(b"lanyard: standard output: "), r)


def test_down_returns_when_the_process_has_ended():
    with Place() as p:
        ready, go, answered = os.pipe(), os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:  # a node of its own process: it answers, and ends only when it is told to
            server = socket.socket(socket.AF_UNIX)
            server.bind(os.path.join(p.home, "control.sock"))
            server.listen(1)
            os.write(ready[1], b"x")
            conn, _ = server.accept()
            receive(conn)
            conn.sendall(reply())
            conn.close()
            os.write(answered[1], b"x")
            os.read(go[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        proc = p.start("down")
        os.read(answered[0], 1)
        try:
            proc.wait(0.2)
            early = True
        except subprocess.TimeoutExpired:
            early = False
        os.write(go[1], b"x")
        out, err = proc.communicate(timeout=LIMIT)
        os.waitpid(child, 0)
        for fd in (*ready, *go, *answered):
            os.close(fd)
        expect(not early and proc.returncode == 0 and not out and not err, early, proc.returncode, out, err)


# ---- terminals ----

def on_terminal(p, *args, env=None):
    """What a command writes to a terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(LANYARD, [LANYARD, *args], {**p.env, **(env or {})})
    out = b""
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    os.close(fd)
    return out, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_colour_only_on_a_terminal():
    with Place() as p:
        with p.node():
            expect(b"\x1b" not in p.run("status").out)
            expect(b"\x1b[1m" in on_terminal(p, "status")[0])
            expect(b"\x1b" not in on_terminal(p, "status", env={"NO_COLOR": "1"})[0])
            expect(b"\x1b" not in on_terminal(p, "status", env={"TERM": "dumb"})[0])
            expect(b"\x1b" not in on_terminal(p, "status", "--json")[0])


def watched(p, show):
    """status --watch while the node has less and less left, and then goes."""
    left = [4096, 1024]

    def answer(conn, _):
        conn.sendall(reply(p.status(pending={"files": len(left), "bytes": left.pop(0)})))
        if not left:
            node.stop()
    with p.node(status=answer) as node:
        return show()


def test_watch():
    with Place() as p:
        r = watched(p, lambda: p.run("status", "--watch"))
        lines = r.out.decode().splitlines()
        expect(r.code == 4 and len(lines) == 2 and "\x1b" not in r.out.decode(), r)
        expect("4.0 KiB left" in lines[0] and "75 %, 1.0 KiB left" in lines[1] and "/s" in lines[1], lines)
        r = watched(p, lambda: p.run("status", "--watch", "--json"))
        same([json.loads(x)["pending"]["bytes"] for x in r.out.splitlines()], [4096, 1024])


def test_watch_on_a_terminal():
    with Place() as p:
        out, code = watched(p, lambda: on_terminal(p, "status", "--watch", env={"NO_COLOR": "1"}))
        expect(code == 4 and re.search(rb"\x1b\[\d+A\r\x1b\[J", out) and b"[###" in out and b"\x1b[1m" not in out, out)


# ---- what lanyardd does ----

def test_init_and_join():
    with Place() as p:
        lanyard = p.with_daemon()
        shared = p.user + "/Lanyard"
        for args, wanted in [
                (["init"], ["init", "--", shared]), (["init", "--name", "n", "dir"], ["init", "--name", "n", "--", "dir"]),
                (["--home", "/q", "init", "--json", "--", "-d"], ["--home", "/q", "init", "--json", "--", "-d"]),
                (["join", "CODE"], ["join", "--", "CODE", shared]),
                (["join", "CODE", "dir", "--at", "[::1]:7447", "--name=n", "--json"],
                 ["join", "--name", "n", "--at", "[::1]:7447", "--json", "--", "CODE", "dir"])]:
            r = p.run(*args, program=lanyard, env={"FAKE_OUT": "out\n", "FAKE_ERR": "lanyard: err\n", "FAKE_CODE": "5"})
            expect(r.code == 5 and r.out == b"out\n" and r.err == "lanyard: err\n", r)
            same(p.record()["argv"], wanted)


def test_up():
    with Place() as p:
        lanyard = p.with_daemon()
        for args, wanted in [(["up"], ["run"]),
                             (["up", "--peer", "a:1", "--no-mdns", "--listen", "0.0.0.0:0", "--peer", "b:2", "--home", "/q"],
                              ["--home", "/q", "run", "--peer", "a:1", "--no-mdns", "--listen", "0.0.0.0:0", "--peer", "b:2"])]:
            same(p.run(*args, program=lanyard).code, 0)
            same(p.record()["argv"], wanted)


def test_daemon_from_path():
    with Place() as p:
        alone = os.path.join(p.dir, "lanyard")
        shutil.copy(LANYARD, alone)
        failed(p.run("up", program=alone, env={"PATH": p.user}), 1, "lanyardd")
        p.write_daemon(p.bin)
        same(p.run("up", program=alone, env={"PATH": p.bin + ":" + p.env["PATH"]}).code, 0)
        same(p.record()["argv"], ["run"])


def test_detach():
    with Place() as p:
        lanyard = p.with_daemon()
        log = os.path.join(p.home, "log")
        line = "lanyard: ready, device x (y), listening on 0.0.0.0:1\n"
        r = p.run("up", "--detach", "--no-mdns", program=lanyard, env={"FAKE_OUT": line, "FAKE_ERR": "later\n"})
        expect(r.code == 0 and r.out.decode() == line and not r.err, r)
        same(p.record()["argv"], ["run", "--no-mdns", "--log-file", log])
        same(p.record()["pid"], p.record()["sid"], "a session of its own")
        with open(log, "w") as f:
            f.write("lanyard: an old reason\n")
        r = p.run("up", "--detach", program=lanyard, env={"FAKE_ERR": "noise\nlanyard: port taken: choose another\n", "FAKE_CODE": "5"})
        failed(r, 5, "lanyard: port taken: choose another")
        failed(p.run("up", "--detach", program=lanyard, env={"FAKE_CODE": "1"}), 1, "see " + log)
        failed(p.run("up", "--detach", program=lanyard), 1, "see " + log)  # ended well, but was never ready
        failed(p.run("up", "--detach", "--home", p.home + "/none", program=lanyard), 1, "lanyard init or lanyard join")
        os.unlink(os.path.join(p.bin, "lanyardd"))
        failed(p.run("up", "--detach", program=lanyard, env={"PATH": p.user}), 1, "install both")


def test_config_without_a_node():
    with Place() as p:
        lanyard = p.with_daemon()
        for args, wanted in [([], ["config", "list"]), (["list", "--json"], ["config", "list", "--json"]),
                             (["get", "k"], ["config", "get", "--", "k"]),
                             (["set", "k", "--", "-1"], ["config", "set", "--", "k", "-1"])]:
            same(p.run("config", *args, program=lanyard, env={"FAKE_CODE": "2"}).code, 2)
            same(p.record()["argv"], wanted)


def main():
    tests = [(name, fn) for name, fn in globals().items() if name.startswith("test_")]
    bad = 0
    for i, (name, fn) in enumerate(tests, 1):
        try:
            fn()
            print("ok %d - %s" % (i, name), flush=True)
        except Exception as e:  # any failure of one test must not hide the others
            bad += 1
            print("not ok %d - %s" % (i, name))
            print("\n".join("# " + line for line in ("%s: %s" % (type(e).__name__, e))[:4000].splitlines()), flush=True)
    print("1..%d" % len(tests))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
