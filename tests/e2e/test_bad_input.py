"""What is wrong around a node: its config, its index, its peers. It says what and what to do, and harms nothing."""
import glob
import os
import random
import re
import shutil
import socket
import sqlite3

from lanyard import fixture, group, is_file_with, make_tree, node, path_of, tap, test, tree_digest, wait_until, write


# ---- config and index ----

def refused(n, *words):
    """`lanyard up` ends with exit code 1 and one line that holds the words; the folder stays as it is."""
    before = tree_digest(n.folder)
    done = n.cli("up", "--listen", "127.0.0.1:0", "--no-mdns", check=False, timeout=30)
    errors = [line for line in done.err.splitlines() if line.startswith("lanyard: ")]
    assert done.code == 1 and len(errors) == 1, (done.code, done.out, done.err)
    for word in words:
        assert re.search(word, errors[0]), f"{word!r} is not in {errors[0]!r}"
    assert errors[0].count(": ") >= 2, f"no remedy in {errors[0]!r}"
    assert tree_digest(n.folder) == before, "the folder was touched"
    return errors[0]


def stopped_node():
    n = node("a").init()
    make_tree(n.folder, seed=30, files=10)
    n.up()
    n.cli("scan")
    return n.down()


def index_file(n):
    found = [p for p in glob.glob(n.home + "/**/*", recursive=True) if os.path.isfile(p) and head(p) == b"SQLite format 3\0"]
    assert len(found) == 1, f"index databases in the home: {found}"
    return found[0]


def head(path):
    with open(path, "rb") as f:
        return f.read(16)


@test
def an_unknown_key_in_the_config_is_named_with_its_line():
    n = stopped_node()
    path = os.path.join(n.home, "config")
    with open(path, "a+", encoding="utf-8") as f:
        f.seek(0)
        lines = f.read().count("\n")
        f.write("\n# a comment\nno_such_key = 1\n")
    refused(n, "no_such_key", rf"\b{lines + 3}\b", "config")


@test
def a_value_out_of_range_is_refused():
    n = stopped_node()
    keys = {row["key"]: row for row in n.cli("config", "list", json=True)}
    key = next(k for k, row in keys.items() if row["type"] not in ("text", "string", "path", "list"))
    done = n.cli("config", "set", key, "surely-not-a-value", check=False)
    assert done.code in (1, 2) and key in done.err, (done.code, done.err)
    assert n.cli("config", "get", key).out.strip() != "surely-not-a-value"


def broken_index(break_it, *words):
    n = stopped_node()
    path = index_file(n)
    shutil.copyfile(path, n.home + ".good")
    break_it(n, path)
    refused(n, *words)
    for rest in ("-wal", "-shm"):
        if os.path.exists(path + rest):
            os.unlink(path + rest)
    shutil.copyfile(n.home + ".good", path)
    n.up()                                       # the good one is as good as before
    assert n.status()["files"] == 10


@test
def an_index_that_is_no_database_is_refused():
    def garbage(_, path):
        with open(path, "r+b") as f:
            f.write(random.Random(1).randbytes(4096))
    broken_index(garbage, "index|database")


@test
def a_truncated_index_is_refused():
    broken_index(lambda _, path: os.truncate(path, os.path.getsize(path) // 2 // 512 * 512), "index|database")


@test
def a_damaged_index_is_refused():
    def damage(_, path):
        rand = random.Random(2)
        with open(path, "r+b") as f:
            for at in range(8192, os.path.getsize(path), 8192):
                f.seek(at)
                f.write(rand.randbytes(2000))
    broken_index(damage, "index|database")


@test
def a_database_of_another_program_is_refused():
    def foreign(_, path):
        os.unlink(path)
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE bookmarks (url TEXT)")
        db.close()
    broken_index(foreign, "index|database")


@test
def the_index_of_another_device_is_refused():
    def of_another(_, path):
        shutil.copyfile(index_file(stopped_node()), path)
    broken_index(of_another, "index|database|another|device|group")


# ---- strangers ----

@fixture
def pair():
    return group("a", "b")


@test
def garbage_at_the_port_harms_nobody():
    a, b = pair()
    host, port = a.address.rsplit(":", 1)
    rand = random.Random(5)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
    for i in range(60):
        with socket.create_connection((host, int(port)), timeout=10) as s:
            try:
                s.sendall((rand.randbytes(200), greeting + rand.randbytes(300), greeting.replace(b"CURVE", b"NULL\0") + rand.randbytes(99),
                           b"\xff" * 5000, b"")[i % 5])
            except OSError:                      # it may hang up on us while we talk
                pass
    write(a.folder, "after", b"all that")
    wait_until(lambda: is_file_with(b.folder, "after", b"all that"), 30, "a file after the garbage")
    assert a.running() and {p["name"] for p in a.status()["peers"]} == {"b"}


@test
def a_member_of_another_group_gets_nothing():
    a, _ = pair()
    other = node("other").init()
    other.up(peers=[a])
    write(a.folder, "secret", b"of the group")
    a.settle()
    assert other.cli("wait", "--timeout", 2, "--peers", 1, check=False).code == 3
    assert other.status()["peers"] == [] and not os.path.exists(path_of(other.folder, "secret"))


tap.main()
