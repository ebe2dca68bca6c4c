"""Concurrent edits: the last write wins everywhere, the loser is listed, readable and can be chosen; nothing is lost."""
import os
import shutil

from lanyard import (exists, failed, group, is_file_with, mount_tmpfs, node, path_of, random_bytes, read, same_trees, tap, test, wait_until, write)


def apart(do_first, do_second, nodes=None, before=None):
    """Two nodes that do something while they do not exchange, the second after the first; then they exchange again."""
    a, b = nodes or group("a", "b")
    if before:
        before(a.folder)
        same_trees(a, b)
        a.settle()
        b.settle()
    for n in (a, b):
        n.cli("pause")
    do_first(a.folder)
    a.cli("scan")                       # recorded, so that it is the earlier one
    do_second(b.folder)
    b.cli("scan")
    for n in (a, b):
        n.cli("resume")
    a.wait(30, 1)
    b.wait(30, 1)
    same_trees(a, b)
    return a, b


def writes(path, data):
    return lambda folder: write(folder, path, data)


def conflicts(n):
    return {c["path"]: c for c in n.cli("conflicts", json=True)}


def loser(n, path):
    found = conflicts(n)
    assert list(found) == [path], found
    assert len(found[path]["losers"]) == 1, found
    return found[path]["losers"][0]["version"]


@test
def paused_nodes_exchange_nothing():
    a, b = group("a", "b")
    a.cli("pause")
    assert a.status()["state"] == "paused"
    write(a.folder, "f", b"x")
    a.cli("scan")
    write(b.folder, "g", b"y")
    b.cli("scan")
    assert not exists(b.folder, "f") and not exists(a.folder, "g")
    assert a.cli("log", "f", json=True)[0]["size"] == 1, "what is done during a pause is not recorded"
    a.cli("resume")
    same_trees(a, b)


@test
def the_last_write_wins_and_the_loser_is_kept():
    a, b = apart(writes("f", b"earlier, by a"), writes("f", b"later, by b"), before=writes("f", b"common"))
    for n in (a, b):
        assert read(n.folder, "f") == b"later, by b"
        found = conflicts(n)["f"]
        assert found["current"]["device"] == "b" and found["current"]["current"] and not found["current"]["conflict"], found
        assert [v["device"] for v in found["losers"]] == ["a"] and found["losers"][0]["conflict"], found
        assert n.cli("cat", "f", "--version", loser(n, "f")).raw == b"earlier, by a"
        assert n.cli("cat", "f").raw == b"later, by b"
        assert n.status()["conflicts"] == 1
        assert "f" in n.cli("conflicts").out
    assert sorted(os.listdir(a.folder)) == [".lanyard", "f"], "a conflict leaves no files in the folder"


@test
def the_loser_may_be_chosen():
    a, b = apart(writes("f", b"earlier"), writes("f", b"later"))
    b.cli("resolve", "f", "--keep", loser(b, "f"))
    for n in (a, b):
        wait_until(lambda n=n: is_file_with(n.folder, "f", b"earlier"), 20, f"the chosen version on {n.name}")
    wait_until(lambda: not conflicts(a) and not conflicts(b), 20, "no conflicts on both sides")
    versions = a.cli("log", "f", json=True)
    assert [v["current"] for v in versions].count(True) == 1, versions


@test
def the_winner_may_be_confirmed():
    a, b = apart(writes("f", b"earlier"), writes("f", b"later"))
    a.cli("resolve", "f", "--keep", conflicts(a)["f"]["current"]["version"])
    wait_until(lambda: not conflicts(a) and not conflicts(b), 20, "no conflicts on both sides")
    assert read(a.folder, "f") == read(b.folder, "f") == b"later"


@test
def a_version_that_nobody_has_cannot_be_chosen():
    a, b = apart(writes("f", random_bytes(1, 8 << 20)), writes("f", random_bytes(2, 8 << 20)))
    c = node("c")
    os.mkdir(c.folder)
    mount_tmpfs(c.folder, "4m")              # it hears of both versions, and has room for neither
    c.join(a.invite(), at=a.address)
    c.up(peers=[a, b])
    wait_until(lambda: list(conflicts(c)) == ["f"], 30, "the conflict on c")
    for n in (a, b):
        n.down()
    wait_until(lambda: not any(p["online"] for p in c.status()["peers"]), 30, "c alone")
    before = conflicts(c)
    for version in (before["f"]["losers"][0], before["f"]["current"]):
        done = c.cli("resolve", "f", "--keep", version["version"], check=False)
        failed(done, 1)
        assert version["version"] in done.err and "no device that is online has it" in done.err, done.err
    assert conflicts(c) == before and len(c.cli("log", "f", json=True)) == 2, "something has been changed"
    a.up(peers=[c])
    wait_until(lambda: a.status()["peers"][0]["online"] or a.status()["peers"][1]["online"], 30, "a peer of a")
    a.cli("resolve", "f", "--keep", before["f"]["losers"][0]["version"])
    wait_until(lambda: not conflicts(a) and not conflicts(c), 30, "the end of the conflict")


@test
def an_edit_of_the_winner_does_not_swallow_the_loser():
    a, b = apart(writes("f", b"earlier"), writes("f", b"later"), before=writes("f", b"common"))
    write(a.folder, "f", b"later, edited by the one who lost")
    a.settle()
    same_trees(a, b)
    for n in (a, b):
        assert n.cli("cat", "f", "--version", loser(n, "f")).raw == b"earlier"


@test
def a_delete_of_what_was_seen_ends_the_conflict():
    a, b = apart(writes("f", b"earlier"), writes("f", b"later"))
    assert conflicts(b)
    os.unlink(path_of(b.folder, "f"))
    wait_until(lambda: not exists(a.folder, "f"), 20, "the deletion on a")
    wait_until(lambda: not conflicts(a) and not conflicts(b), 20, "no conflicts on both sides")
    a.settle()
    assert not exists(a.folder, "f") and not exists(b.folder, "f"), "something popped up again"


@test
def an_edit_beats_a_later_delete():
    a, b = apart(writes("f", b"edited"), lambda folder: os.unlink(path_of(folder, "f")), before=writes("f", b"common"))
    assert read(a.folder, "f") == read(b.folder, "f") == b"edited"


@test
def an_edit_beats_an_earlier_delete_of_its_directory():
    a, b = apart(lambda folder: shutil.rmtree(path_of(folder, "d")), writes("d/sub/f", b"edited"), before=writes("d/sub/f", b"common"))
    assert read(a.folder, "d/sub/f") == read(b.folder, "d/sub/f") == b"edited"


@test
def equal_edits_are_no_conflict():
    a, b = apart(lambda folder: write(folder, "f", b"same", mtime_ns=10**18), lambda folder: write(folder, "f", b"same", mtime_ns=10**18),
                 before=writes("f", b"common"))
    assert not conflicts(a) and not conflicts(b) and read(a.folder, "f") == b"same"


@test
def a_directory_is_shown_and_the_file_of_its_name_waits():
    a, b = apart(writes("x/inside", b"in the directory"), writes("x", b"a file"))
    assert read(a.folder, "x/inside") == read(b.folder, "x/inside") == b"in the directory"
    for n in (a, b):
        found = conflicts(n)
        assert "x" in found, found
        contents = {n.cli("cat", "x", "--version", v["version"]).raw for v in found["x"]["losers"]}
        assert b"a file" in contents, found


@test
def two_renames_of_one_file_keep_both_names():
    a, b = apart(lambda folder: os.rename(path_of(folder, "f"), path_of(folder, "one")),
                 lambda folder: os.rename(path_of(folder, "f"), path_of(folder, "two")), before=writes("f", b"common"))
    assert read(a.folder, "one") == read(a.folder, "two") == b"common" and not exists(a.folder, "f")


@test
def three_devices_agree_on_the_winner():
    nodes = group("a", "b", "c")
    for n in nodes:
        n.cli("pause")
    for n in nodes:
        write(n.folder, "f", b"by " + n.name.encode())
        n.cli("scan")
    for n in nodes:
        n.cli("resume")
    same_trees(*nodes)
    wait_until(lambda: all(n.status()["conflicts"] for n in nodes), 20, "a conflict everywhere")
    for n in nodes:
        n.wait(30, 2)
        found = conflicts(n)["f"]
        assert read(n.folder, "f") == b"by c" and found["current"]["device"] == "c", found
        assert sorted(v["device"] for v in found["losers"]) == ["a", "b"], found
        assert sorted(n.cli("cat", "f", "--version", v["version"]).raw for v in found["losers"]) == [b"by a", b"by b"]


@test
def conflicts_outlive_a_restart():
    a, b = apart(writes("f", b"earlier"), writes("f", b"later"))
    version = loser(a, "f")
    a.down()
    a.up(peers=[b])
    a.wait(30, 1)
    assert loser(a, "f") == version
    assert a.cli("cat", "f", "--version", version).raw == b"earlier"


tap.main()
