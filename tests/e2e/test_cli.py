#!/usr/bin/env python3
"""The command line against a fake node: help and usage, what it asks, what it shows. Prints TAP."""
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading

from cli_fake import LIMIT, OLD, ROOT, VERSION, FakeNode, Place, commands, expect, failed, plain, reply, run_tests, same, silent


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
                (["restore"], "--at"), (["restore", "--version", "v"], "name a file"),
                (["resolve", "a"], "--keep"), (["config", "frob"], "frob"), (["config", "get"], "config get KEY"),
                (["config", "set", "k"], "KEY VALUE"), (["log", "--limit", "x"], "--limit"), (["--home", "", "status"], "empty")]:
            failed(p.run(*args), 2, words)


def test_not_running():
    with Place() as p:
        for args in (["status"], ["status", "--watch"], ["wait"], ["scan"], ["pause"], ["resume"], ["devices"], ["device", "revoke", "x"], ["invite"], ["log"],
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
        device = {**JSON_COMMANDS["devices"][0], "name": "shed", "role": "reader"}
        with p.node(device=reply(device)) as node:
            same(p.run("device", "role", "x", "reader").out, b"device  shed\nrole    reader\nstate   member\n")
            same(p.run("device", "rename", "x", "shed", "--json").json(), device)
        same(node.asked("device"), [{"op": "role", "name": "x", "to": "reader"}, {"op": "rename", "name": "x", "to": "shed"}])
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


def test_a_requirement_of_which_there_are_no_receipts():
    one = {"name": "anna", "id": "ab" * 32, "online": True, "state": "reached", "since": None, "waits": False, "overridden": False, "signed": None}
    q = {"id": "cd" * 16, "by": "anna", "message": "", "since": "2026-01-02T03:04:05Z", "until": None, "mode": "auto", "over": False,
         "devices": [one]}
    with Place() as p:
        for provable in (True, False):
            with p.node(require=reply({**q, "provable": provable})):
                same(b"No receipts can be made any more" in p.run("require", "status").out, not provable)


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
                    (["restore", "--at", "1970-01-01T00:00:05Z", "--dry-run"], "restore", {"at": 5000, "dry_run": True}),
                    (["restore", "a", "--at", "1970-01-01T00:00:05Z", "--partial"], "restore", {"path": b"a", "at": 5000, "partial": True}),
                    (["log", "--deleted", "a"], "log", {"path": b"a", "deleted": True}),
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

if __name__ == "__main__":
    sys.exit(run_tests(globals()))
