"""What users and scripts rely on: what every command shows, as JSON and for people. The shapes here are the contract's."""
import json
import os
import re
import subprocess

from lanyard import LANYARD, Failed, failed, fixture, group, is_file_with, node, path_of, read, tap, test, wait_until, write

HEX64 = re.compile(r"[0-9a-f]{64}\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")
ADDRESS = re.compile(r"(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:%]+\]):[1-9]\d*\Z")


class Or:
    """Any of these shapes."""
    def __init__(self, *shapes):
        self.shapes = shapes


NULL_OR_TIME, COUNTS = Or(None, TIME), {"files": int, "bytes": int}
PEER = {"id": HEX64, "name": str, "role": str, "online": bool, "via": Or("lan", "static", "relay", None), "address": Or(str, None),
        "last_seen": NULL_OR_TIME, "in_sync": bool, "missing": Or(COUNTS, None)}
STATUS = {"device": {"id": HEX64, "name": str, "role": str}, "group": {"id": HEX64}, "folder": str, "listen": ADDRESS,
          "state": Or("starting", "scanning", "syncing", "idle", "paused", "locked", "error"), "error": Or(str, None), "files": int,
          "bytes": int, "pending": COUNTS, "conflicts": int, "ignored_errors": int, "peers": [PEER], "required": None}
VERSION = {"version": str, "path": str, "kind": Or("file", "dir", "symlink", "deleted"), "size": int, "time": TIME, "device": str,
           "current": bool, "conflict": bool, "available": Or("here", "peers", "gone")}
DEVICE = {"id": HEX64, "name": str, "role": Or("owner", "admin", "member", "reader"), "revoked": bool, "this": bool, "added": TIME}


def fits(value, shape, where="$"):
    """None when the value has the shape, else what is wrong. Keys may be more than the shape's, never fewer."""
    if isinstance(shape, Or):
        return None if any(fits(value, s, where) is None for s in shape.shapes) else f"{where}: {value!r}"
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where}: {value!r} is no object"
        lacks = [k for k in shape if k not in value]
        return f"{where} lacks {lacks}" if lacks else next(filter(None, (fits(value[k], s, f"{where}.{k}") for k, s in shape.items())), None)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where}: {value!r} is no array"
        return next(filter(None, (fits(v, shape[0], f"{where}[{i}]") for i, v in enumerate(value))), None)
    if isinstance(shape, re.Pattern):
        return None if isinstance(value, str) and shape.match(value) else f"{where}: {value!r}"
    if isinstance(shape, type):
        return None if type(value) is shape else f"{where}: {value!r} is no {shape.__name__}"
    return None if value == shape and type(value) is type(shape) else f"{where}: {value!r}, not {shape!r}"


def expect_json(n, shape, *args):
    value = n.cli(*args, json=True)
    wrong = fits(value, shape)
    assert not wrong, f"lanyard {' '.join(args)} --json: {wrong}"
    return value


@fixture
def pair():
    """Two nodes with a file of three versions, a deleted file, a directory, a link and a conflict."""
    a, b = group("a", "b")
    for text in (b"one", b"two!", b"three"):
        write(a.folder, "dir/f", text)
        a.settle()
    write(a.folder, "gone", b"soon deleted")
    os.symlink("dir/f", path_of(a.folder, "link"))
    a.settle()
    os.unlink(path_of(a.folder, "gone"))
    a.settle()
    wait_until(lambda: is_file_with(b.folder, "dir/f", b"three"), 20, "the file on b")
    a.cli("pause")
    b.cli("pause")
    write(a.folder, "both", b"a's")
    a.cli("scan")
    write(b.folder, "both", b"b's")
    b.cli("scan")
    a.cli("resume")
    b.cli("resume")
    wait_until(lambda: a.status()["conflicts"] == b.status()["conflicts"] == 1, 20, "a conflict on both")
    a.wait(30, 1)
    return a, b


# ---- shapes ----

@test
def status():
    a, b = pair()
    value = expect_json(a, STATUS, "status")
    assert value["folder"] == a.folder and value["listen"] == a.address and value["device"]["name"] == "a", value
    assert value["device"]["role"] == "owner" and [p["name"] for p in value["peers"]] == ["b"], value
    peer = value["peers"][0]
    assert peer["online"] and peer["in_sync"] and peer["via"] == "static" and value["state"] == "idle", value
    assert peer["id"] == b.status()["device"]["id"] and value["files"] == 2 and value["conflicts"] == 1, value
    text = a.cli("status").out
    assert "idle" in text and "b" in text and "\033" not in text, text


@test
def devices():
    a, _ = pair()
    found = expect_json(a, [DEVICE], "devices")
    assert sorted((d["name"], d["role"], d["this"]) for d in found) == [("a", "owner", True), ("b", "member", False)], found
    assert "b" in a.cli("devices").out


@test
def log_of_a_path_is_newest_first():
    a, b = pair()
    for n in (a, b):
        versions = expect_json(n, [VERSION], "log", "dir/f")
        assert [v["size"] for v in versions if v["available"] != "gone"][:1] == [5], versions
        assert [v["current"] for v in versions] == [True] + [False] * (len(versions) - 1), versions
        assert [v["time"] for v in versions] == sorted((v["time"] for v in versions), reverse=True), versions
        assert {v["device"] for v in versions} == {"a"} and {v["path"] for v in versions} == {"dir/f"}, versions
    assert [v["size"] for v in b.cli("log", "dir/f", json=True)] == [5, 4, 3]
    assert a.cli("log", "gone", json=True)[0]["kind"] == "deleted"
    assert a.cli("log", "link", json=True)[0]["kind"] == "symlink"


@test
def log_of_the_folder():
    a, _ = pair()
    versions = expect_json(a, [VERSION], "log")
    assert {"dir/f", "gone", "link", "both"} <= {v["path"] for v in versions}, versions
    assert "dir/f" in a.cli("log").out


@test
def conflicts():
    a, b = pair()
    for n in (a, b):
        found = expect_json(n, [{"path": str, "current": VERSION, "losers": [VERSION]}], "conflicts")
        assert [c["path"] for c in found] == ["both"] and len(found[0]["losers"]) == 1, found


@test
def config():
    a, _ = pair()
    rows = expect_json(a, [{"key": str, "type": str, "help": str}], "config", "list")
    for row in rows:
        assert "value" in row and "default" in row and row["help"], row
    key, value = rows[0]["key"], rows[0]["value"]
    got = a.cli("config", "get", key).out.strip()
    assert got == ("" if value is None else str(value).lower() if isinstance(value, bool) else str(value)), (got, value)
    assert expect_json(a, {"key": key}, "config", "get", key)["value"] == value
    failed(a.cli("config", "get", "no_such_key", check=False), 2)
    assert all(row["key"] in a.cli("config").out for row in rows)


@test
def version():
    value = expect_json(node("x"), {"version": str, "protocol": Or(int, str), "libraries": {}}, "version")
    assert re.match(r"\d+\.\d+", value["version"]) and value["libraries"], value
    assert value["version"] in node("y").cli("version").out


@test
def events_are_one_object_a_line():
    a, _ = pair()
    follow = a.popen(LANYARD, "events", "--follow", stdout=subprocess.PIPE)
    write(a.folder, "event", b"x")
    first = follow.stdout.readline()
    follow.terminate()
    follow.wait()
    follow.stdout.close()
    assert isinstance(json.loads(first), dict), first
    assert all(isinstance(e, dict) for e in a.events())


@test
def invite():
    a, _ = pair()
    value = expect_json(a, {"code": re.compile(r"[0-9A-Z]{5}-[0-9A-Z]{5}\Z"), "role": "member", "until": TIME}, "invite")
    assert re.match(r"[0-9A-Z]{5}-[0-9A-Z]{5}\n", a.cli("invite", "--ttl", "2m").out), value
    failed(a.cli("invite", "--role", "emperor", check=False), 2)
    failed(a.cli("invite", "--ttl", "never", check=False), 2)


@test
def pause_resume_and_scan_answer_with_json_too():
    a, _ = pair()
    for command in ("pause", "resume", "scan"):
        a.cli(command, json=True)
    assert fits(a.cli("scan", json=True), {"files": int, "changed": int, "errors": int}) is None
    wait_until(lambda: a.status()["peers"][0]["online"], 20, "b online again")


@test
def wait_ends_with_3_when_time_is_over():
    a, _ = pair()
    done = a.cli("wait", "--timeout", 1, "--peers", 5, check=False)
    assert done.code == 3 and not done.out, (done.code, done.out, done.err)


@test
def no_colour_where_there_is_no_terminal():
    a, _ = pair()
    for args in (["status"], ["devices"], ["log"], ["conflicts"], ["config"], ["--help"]):
        if "\033" in a.cli(*args).out:
            raise Failed(f"escape codes in the output of lanyard {' '.join(args)}")


# ---- old versions ----

@test
def cat_prints_any_version():
    a, b = pair()
    assert a.cli("cat", "dir/f").raw == b"three"
    versions = b.cli("log", "dir/f", json=True)
    assert [b.cli("cat", "dir/f", "--version", v["version"]).raw for v in versions] == [b"three", b"two!", b"one"]
    failed(a.cli("cat", "no/such/file", check=False), 1)
    failed(a.cli("cat", "dir/f", "--version", "ffffffff", check=False), 1)


@test
def history_is_a_property_of_the_group():
    a, _ = pair()
    versions = a.cli("log", "dir/f", json=True)
    here = [v for v in versions if v["available"] != "gone"]
    assert [a.cli("cat", "dir/f", "--version", v["version"]).raw for v in here] == [b"three", b"two!", b"one"], versions


@test
def restore_brings_back_a_deleted_file_as_a_new_version():
    a, b = pair()
    before = len(b.cli("log", "gone", json=True))
    b.cli("restore", "gone")
    assert read(b.folder, "gone") == b"soon deleted"
    wait_until(lambda: is_file_with(a.folder, "gone", b"soon deleted"), 20, "the restored file on a")
    assert len(b.cli("log", "gone", json=True)) == before + 1


@test
def restore_takes_a_version_a_time_or_another_place():
    a, b = pair()
    versions = b.cli("log", "dir/f", json=True)
    b.cli("restore", "dir/f", "--version", versions[-1]["version"], "--to", "dir/first")
    wait_until(lambda: is_file_with(a.folder, "dir/first", b"one"), 20, "the first version beside it on a")
    assert read(b.folder, "dir/f") == b"three"
    b.cli("restore", "dir/f", "--version", versions[1]["version"])
    wait_until(lambda: is_file_with(a.folder, "dir/f", b"two!"), 20, "the second version on a")
    b.cli("restore", "dir/f", "--at", versions[0]["time"])
    wait_until(lambda: is_file_with(a.folder, "dir/f", b"three"), 20, "the third version on a")
    failed(b.cli("restore", "dir/f", "--version", "ffffffff", check=False), 1)
    failed(b.cli("restore", "never-was", check=False), 1)


tap.main()
