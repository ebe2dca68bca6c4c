"""A former state is brought back: of the whole folder, of a directory, of what was deleted."""
import os
import random
import shutil

from lanyard import (differences, exists, failed, fixture, group, is_file_with, node, path_of, read, same_trees, tap, test, tree_digest,
                     wait_until, write)


@fixture
def pair():
    return group("a", "b")


def versions(n, path):
    return n.cli("log", path, json=True)


def by_size(n, path, size):
    return next(v["version"] for v in versions(n, path) if v["size"] == size)


def now_of(n):
    """The time of the latest version that is known."""
    return max(v["time"] for v in n.cli("log", json=True))


@test
def the_whole_folder_goes_back_to_a_time_and_forth_again():
    a, b = pair()
    for name in (b"edited", b"deleted", b"renamed", b"d/deep/in", b"becomes-dir", b"moved-out/x"):
        write(a.folder, b"w/" + name, name * 500)
    os.mkdir(path_of(a.folder, "w/empty"), 0o750)
    os.symlink("there", path_of(a.folder, "w/link"))
    write(a.folder, "w/becomes-file/in", b"in")
    a.settle()
    then, first = now_of(a), tree_digest(a.folder)
    write(a.folder, "w/edited", b"edited", mode=0o600)
    os.unlink(path_of(a.folder, "w/deleted"))
    os.rename(path_of(a.folder, "w/renamed"), path_of(a.folder, "w/other-name"))
    shutil.rmtree(path_of(a.folder, "w/d"))
    os.unlink(path_of(a.folder, "w/becomes-dir"))
    write(a.folder, "w/becomes-dir/new", b"new")
    shutil.rmtree(path_of(a.folder, "w/becomes-file"))
    write(a.folder, "w/becomes-file", b"file")
    os.rmdir(path_of(a.folder, "w/empty"))
    os.unlink(path_of(a.folder, "w/link"))
    os.rename(path_of(a.folder, "w/moved-out/x"), path_of(a.folder, "moved-in"))
    a.settle()
    later, second = now_of(a), tree_digest(a.folder)
    same_trees(a, b)
    for at, state in ((then, first), (later, second), (then, first)):
        b.cli("restore", "--at", at)
        assert tree_digest(b.folder) == state, differences(tree_digest(b.folder), state)
        b.wait(30, 1)
        same_trees(a, b)
    assert b.cli("restore", "--at", then, json=True) | {"unchanged": 0} == {"path": "", "restored": 0, "deleted": 0, "unchanged": 0}
    assert not b.status()["conflicts"]


@test
def a_directory_goes_back_and_nothing_else():
    a, b = pair()
    write(a.folder, "one/f", b"1" * 2000)
    write(a.folder, "one-not/f", b"1" * 2000)
    a.settle()
    then = now_of(a)
    write(a.folder, "one/f", b"2")
    write(a.folder, "one/g", b"2")
    write(a.folder, "one-not/f", b"2")
    a.settle()
    planned = b.cli("restore", "--at", then, "--dry-run", "one", json=True)
    assert [(p["path"], p["change"], p["available"]) for p in planned] == [("one/f", "restore", "here"), ("one/g", "delete", "here")]
    assert read(b.folder, "one/f") == b"2" and exists(b.folder, "one/g")
    done = b.cli("restore", "--at", then, "one", json=True)
    assert (done["path"], done["restored"], done["deleted"], done["unchanged"]) == ("one", 1, 1, 1), done
    assert read(b.folder, "one/f") == b"1" * 2000 and not exists(b.folder, "one/g") and read(b.folder, "one-not/f") == b"2"
    b.cli("cat", "one/g", "--version", versions(b, "one/g")[-1]["version"])


@test
def a_former_state_can_be_had_beside_the_present_one():
    a, b = pair()
    write(a.folder, "src/sub/f", b"old" * 1000)
    write(a.folder, "src/gone", b"gone")
    a.settle()
    then = now_of(a)
    write(a.folder, "src/sub/f", b"new")
    os.unlink(path_of(a.folder, "src/gone"))
    a.settle()
    b.cli("restore", "--at", then, "--to", "copy/of", "src")
    for n in (b, a):
        wait_until(lambda n=n: is_file_with(n.folder, "copy/of/sub/f", b"old" * 1000) and is_file_with(n.folder, "copy/of/gone", b"gone"),
                   30, f"the copy on {n.name}")
    assert read(b.folder, "src/sub/f") == b"new" and not exists(b.folder, "src/gone")
    failed(b.cli("restore", "--at", then, "--to", "copy/of", "src", check=False), 1)
    failed(b.cli("restore", "--at", then, "--to", "src", check=False), 1)
    b.cli("restore", "--at", then, "--to", "all")
    assert read(b.folder, "all/src/gone") == b"gone" and exists(b.folder, "src")


@test
def a_deleted_directory_comes_back_with_what_was_in_it():
    a, b = pair()
    write(a.folder, "proj/before", b"deleted by itself")
    write(a.folder, "proj/src/x", b"x" * 3000)
    write(a.folder, "proj/y", b"y")
    a.settle()
    state = tree_digest(path_of(a.folder, "proj"))
    shutil.rmtree(path_of(a.folder, "proj"))
    a.settle()
    deleted = [v["path"] for v in b.cli("log", "--deleted", "proj", json=True)]
    assert sorted(deleted) == ["proj", "proj/before", "proj/src", "proj/src/x", "proj/y"], deleted
    b.cli("restore", "proj")
    b.wait(30, 1)
    for n in (a, b):
        assert tree_digest(path_of(n.folder, "proj")) == state


@test
def a_state_whose_contents_are_gone_is_brought_back_as_far_as_wanted():
    a = node("a").init().config("history_alone", "false").up()
    for name in ("gone/1", "gone/2", "stays"):
        write(a.folder, name, name.encode() * 1000)
    write(a.folder, "small", b"s")
    a.cli("scan")
    then = now_of(a)
    for name in ("gone/1", "gone/2", "small"):
        write(a.folder, name, b"new")
    write(a.folder, "later", b"l")
    a.cli("scan")
    before = tree_digest(a.folder)
    done = a.cli("restore", "--at", then, check=False)
    failed(done, 1)
    assert "gone/1, gone/2" in done.err and "--partial" in done.err, done.err
    assert tree_digest(a.folder) == before
    planned = {p["path"]: p["available"] for p in a.cli("restore", "--at", then, "--dry-run", json=True)}
    assert planned == {"gone/1": "gone", "gone/2": "gone", "small": "here", "later": "here"}, planned
    done = a.cli("restore", "--at", then, "--partial", check=False)
    failed(done, 1)
    assert "gone/1, gone/2" in done.err, done.err
    assert read(a.folder, "small") == b"s" and not exists(a.folder, "later") and read(a.folder, "gone/1") == b"new"
    for nothing in (["--at", "2001-01-01T00:00:00Z"], ["--at", "2001-01-01T00:00:00Z", "gone"], ["--at", then, "never/was"]):
        failed(a.cli("restore", *nothing, check=False), 1)
    failed(a.cli("restore", check=False), 2)
    assert a.status()["pending"]["files"] == 0


@test
def a_state_that_only_others_have_is_fetched():
    """a made it and overwrote it in place, b put it away, and c, which came later, has never seen it. a is not running."""
    a, b = group("a3", "b3")
    first = random.Random(3).randbytes(3 << 20)
    write(a.folder, "d/large", first)
    write(a.folder, "d/small", b"s" * 3000)
    a.settle()
    then, state = now_of(a), tree_digest(a.folder)
    write(a.folder, "d/large", b"2" * 2000)
    os.unlink(path_of(a.folder, "d/small"))
    a.settle()
    c = node("c3")
    c.join(a.invite(), at=a.address)
    c.up(peers=[a, b]).wait(60, 2)
    a.down()
    planned = {p["path"]: p["available"] for p in c.cli("restore", "--at", then, "--dry-run", json=True)}
    assert planned == {"d/large": "peers", "d/small": "peers"}, planned
    c.cli("restore", "--at", then)
    assert tree_digest(c.folder) == state
    c.wait(30, 1)
    same_trees(b, c)
    a.up(peers=[b, c]).wait(60, 2)
    assert tree_digest(a.folder) == state


@test
def the_edit_of_just_now_is_kept_when_the_folder_goes_back():
    a, b = pair()
    write(a.folder, "e/f", b"1" * 3000)
    a.settle()
    then = now_of(a)
    write(a.folder, "e/f", b"2" * 3001)
    write(a.folder, "e/new", b"n" * 3002)
    a.cli("restore", "--at", then, "e")
    assert read(a.folder, "e/f") == b"1" * 3000 and not exists(a.folder, "e/new")
    a.wait(30, 1)
    assert a.cli("cat", "e/f", "--version", by_size(a, "e/f", 3001)).raw == b"2" * 3001
    assert a.cli("cat", "e/new", "--version", by_size(a, "e/new", 3002)).raw == b"n" * 3002
    assert read(b.folder, "e/f") == b"1" * 3000


@test
def versions_of_a_conflict_can_be_had_when_the_folder_has_gone_back():
    a, b = pair()
    write(a.folder, "c/f", b"what both overwrite: carried in its entry")
    a.settle()
    then = now_of(a)
    for n, size in ((a, 3000), (b, 4000)):
        n.cli("pause")
        write(n.folder, "c/f", n.name.encode() * size)
        n.cli("scan")
    for n in (a, b):
        n.cli("resume")
    for n in (a, b):
        n.wait(30, 1)
    assert a.status()["conflicts"] == 1
    a.cli("restore", "--at", then, "c")
    for n in (a, b):
        n.wait(30, 1)
        assert read(n.folder, "c/f") == b"what both overwrite: carried in its entry" and n.status()["conflicts"] == 0
        assert n.cli("cat", "c/f", "--version", by_size(n, "c/f", 3000)).raw == b"a" * 3000
        assert n.cli("cat", "c/f", "--version", by_size(n, "c/f", 4000)).raw == b"b" * 4000


@test
def what_nobody_has_any_more_makes_way_for_what_the_disk_shows():
    a, b, c = group("a", "b", "c")
    write(c.folder, ".lanyard/ignore", b"big*\n")
    c.cli("scan")
    write(a.folder, "big", b"1" * 5000)
    a.settle()
    b.settle()
    a.down()
    write(b.folder, "big", b"2" * 6000)
    b.settle()
    b.down()
    a.up(peers=[c])
    wait_until(lambda: a.status()["pending"]["files"] == 1, 20, "a to hear of what it cannot have")
    done = a.cli("wait", "--timeout", "0.1", check=False)
    failed(done, 3)
    assert "no device online has 1 of the files" in done.err, done.err
    old = by_size(a, "big", 5000)
    a.cli("restore", "big", "--version", old)
    a.wait()
    current = versions(a, "big")[0]
    assert current["device"] == "a" and current["current"] and current["version"] != old and not current["conflict"], current
    assert read(a.folder, "big") == b"1" * 5000


tap.main()
