#!/usr/bin/env python3
"""The command line: how it ends, terminals, and what it leaves to lanyardd (here a fake one). Prints TAP."""
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

from cli_fake import LANYARD, LIMIT, Place, expect, failed, frame, receive, reply, run_tests, same


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
            try:
                code = proc.wait(LIMIT)
            finally:
                proc.kill()
                done.set()
            err = proc.stderr.read()
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
                (["init", "--no-recovery", "dir"], ["init", "--no-recovery", "--", "dir"]),
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

if __name__ == "__main__":
    sys.exit(run_tests(globals()))
