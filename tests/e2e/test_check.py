"""lanyard check finds a flipped byte wherever it is, says what it was, and gets the content again from who has it."""
import json
import os
import sqlite3
import subprocess

from lanyard import fixture, group, is_file_with, path_of, random_bytes, read, same_trees, tap, test, wait_until, write

MIB = 1 << 20


def own(n, *parts):
    return os.path.join(n.folder, ".lanyard", *parts)


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def rot(n, path, at):
    """Flips a byte of a file as a bad disk does: neither times nor size show it. The node is down meanwhile, and its index is told the
    time of the change, which only a disk can leave as it was."""
    full = path_of(n.folder, path)
    st = os.stat(full)
    flip(full, at)
    os.utime(full, ns=(st.st_atime_ns, st.st_mtime_ns))
    with sqlite3.connect(os.path.join(n.home, "index.db")) as db:
        done = db.execute("UPDATE local SET ctime = ? WHERE path = (SELECT id FROM path WHERE name = ?)",
                          (os.stat(full).st_ctime_ns, os.fsencode(path)))
        assert done.rowcount == 1
    db.close()


def check(n, *options, code=0):
    done = n.cli("check", "--json", *options, check=False, timeout=150)
    assert done.code == code, (done.code, done.out, done.err)
    return json.loads(done.out.splitlines()[-1])


def states(found):
    return sorted((d["what"], d["name"], d["state"]) for d in found["damaged"])


def version_of(n, path, size):
    return next(v["version"] for v in n.cli("log", path, json=True) if v["size"] == size)


OLD, NEW, SMALL = random_bytes(1, 5 * MIB), random_bytes(2, 6 * MIB), random_bytes(3, 3000)


def new_pair():
    """`large` has an old version on b only; `small` and `large` are on both."""
    a, b = group("a", "b")
    write(a.folder, "small", SMALL)
    write(a.folder, "large", OLD)
    a.settle()
    write(a.folder, "large", NEW)
    a.settle()
    b.settle()
    return a, b


pair = fixture(new_pair)


def third(made=pair):
    """The old version of `large` is on a too."""
    a, b = made()
    assert a.cli("cat", "large", "--version", version_of(a, "large", len(OLD))).raw == OLD
    a.settle()
    return a, b


@test
def all_is_well():
    for n in pair():
        found = check(n)
        assert found["ok"] and not found["damaged"] and found["files"] == 2 and found["bytes"] >= len(NEW), found
    assert "all is well" in pair()[1].cli("check").out


@test
def a_link_that_was_replaced_is_no_damage():
    a, b = group("a", "b")
    os.symlink("one", path_of(a.folder, "link"))
    a.settle()
    os.unlink(path_of(a.folder, "link"))
    os.symlink("two", path_of(a.folder, "link"))
    a.settle()
    b.settle()
    link, = os.scandir(own(b, "kept"))
    assert os.readlink(link.path) == "one" and check(b)["ok"]
    os.unlink(link.path)
    os.symlink("another", link.path)
    assert states(check(b)) == [("kept", link.name, "repaired")]
    assert b.status()["state"] == "idle" and b.cli("cat", "link", "--version", b.cli("log", "link", json=True)[1]["version"]).out == "one"


@test
def a_rotten_file_is_named_not_served_and_fetched_again():
    a, b = pair()
    b.down()
    rot(b, "large", 3 * MIB)
    rot(b, "small", 17)
    b.up(peers=[a])
    b.settle()
    assert not is_file_with(b.folder, "large", NEW)
    found = check(b, "--no-repair", code=1)
    assert states(found) == [("file", "large", "damaged"), ("file", "small", "damaged")], found
    found = check(b)
    assert states(found) == [("file", "large", "repaired"), ("file", "small", "repaired")], found
    assert read(b.folder, "large") == NEW and read(b.folder, "small") == SMALL
    assert any(e.stat().st_size == len(SMALL) for e in os.scandir(own(b, "kept"))), "the damaged bytes are kept aside"
    rows = b.cli("log", "small", json=True)
    assert b.status()["conflicts"] == 0 and len([v for v in rows if not v["version"].startswith("kept-")]) == 1, "damage is no version"
    put_aside, = (v for v in rows if v["version"].startswith("kept-"))
    assert put_aside["device"] == "b" and not put_aside["current"] and not put_aside["conflict"], put_aside
    same_trees(a, b)
    assert check(b)["ok"]


@test
def damage_that_nobody_can_repair_is_named():
    a, b = new_pair()                                # of another one it may have been packed by now
    kept = next(e.path for e in os.scandir(own(b, "kept")) if e.stat().st_size == len(OLD))
    flip(kept, MIB)
    a.down()
    found = check(b, code=1)
    assert states(found) == [("kept", os.path.basename(kept), "lost")], found
    a.up(peers=[b])
    a.wait()
    flip(kept, MIB)
    assert check(b)["ok"]


@test
def a_damaged_kept_file_is_fetched_again():
    a, b = third(new_pair)
    for n in a, b:
        n.settle()
    kept = next(e.path for e in os.scandir(own(b, "kept")) if e.stat().st_size == len(OLD))
    flip(kept, 2 * MIB)
    found = check(b)
    assert states(found) == [("kept", os.path.basename(kept), "repaired")], found
    assert b.cli("cat", "large", "--version", version_of(b, "large", len(OLD))).raw == OLD
    assert check(b)["ok"]


@test
def a_damaged_pack_is_fetched_again():
    a, b = third()
    b.cli("gc")
    pack = next(e for e in os.scandir(own(b, "packs")) if e.stat().st_size > len(OLD))
    with open(pack.path, "rb") as f:
        flip(pack.path, f.read().index(OLD[3 * MIB:3 * MIB + 64]))
    old = version_of(b, "large", len(OLD))
    found = check(b, "--no-repair", code=1)
    assert ("pack", pack.name, "damaged") in states(found) and ("version", "large", "damaged") in states(found), found
    found = check(b)
    assert found["ok"] and ("version", "large", "repaired") in states(found), found
    assert b.cli("cat", "large", "--version", old).raw == OLD
    b.cli("gc")
    assert b.cli("cat", "large", "--version", old).raw == OLD
    found = check(b)
    assert found["ok"] and not found["damaged"], found


@test
def a_crash_in_the_middle_of_a_repair_harms_nothing():
    a, b = third()
    for _ in range(3):
        b.settle()
        b.down()
        rot(b, "large", 3 * MIB)
        rot(b, "small", 17)
        b.up(peers=[a])
        b.settle()
        process = b.popen("lanyard", "check", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: process.poll() is not None or os.listdir(own(b, "tmp")), 60, "a repair has begun")
        b.kill9()
        process.wait()
        b.up(peers=[a])
    b.settle()
    check(b)
    assert read(b.folder, "large") == NEW and read(b.folder, "small") == SMALL
    assert b.status()["conflicts"] == 0 and check(b)["ok"]
    same_trees(a, b)


tap.main()
