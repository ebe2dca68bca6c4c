"""What the tests of the command line share: a fake node, a fake lanyardd, a place to run in.

A FakeNode listens on the control socket of a temporary home and answers each request with what the test wants; a fake lanyardd
records how it was called. The frames and msgpack are written out here once more, so that both sides cannot be wrong alike.
LANYARD_BUILD names the build directory (default: build/).
"""
import json
import os
import re
import shutil
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


def run_tests(names):
    """Runs what is called test_* in a module's globals(), prints TAP, returns the exit code."""
    tests = [(name, fn) for name, fn in names.items() if name.startswith("test_")]
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
