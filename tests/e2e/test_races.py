"""What users and nodes do to the same files at the same moment: nothing is lost, nothing is torn, nothing waits for ever."""
# first
import os
import random
import shutil

from lanyard import exists, group, is_file_with, path_of, read, same_trees, tap, test, wait_until, write
from torture import torture


def big(letter):
    return letter.encode() * 30_000         # not inline: it is stored and kept as a file


def versions(n, path):
    return n.cli("log", path, json=True, check=False) if n.cli("log", path, check=False).code == 0 else []


def is_available(n, path, data):
    """Whether some version of the path that the node has here is this content."""
    return any(v["available"] == "here" and v["size"] == len(data) and n.cli("cat", path, "--version", v["version"]).raw == data
               for v in versions(n, path))


def without_index(n):
    for name in os.listdir(n.home):
        if name.startswith("index"):
            os.rename(os.path.join(n.home, name), os.path.join(n.home, "old." + name))


@test
def a_file_that_is_open_for_writing_is_not_displaced():
    a, b = group("a", "b")
    write(a.folder, "f", big("o"))
    same_trees(a, b)
    with open(path_of(b.folder, "f"), "r+b", buffering=0) as f:
        write(a.folder, "f", big("n"))
        a.cli("scan")
        wait_until(lambda: len(versions(b, "f")) == 2, 20, "the news on b")
        f.seek(0, os.SEEK_END)
        f.write(b"mine")
    mine = big("o") + b"mine"
    wait_until(lambda: is_available(b, "f", mine), 30, "what was written through the open file as a version")
    same_trees(a, b)
    wait_until(lambda: is_available(a, "f", big("n")) and is_available(b, "f", big("n")), 20, "the other one's version")


@test
def a_file_that_waits_holds_up_none_of_the_same_content():
    a, b = group("a", "b")
    write(a.folder, "f", big("o"))
    same_trees(a, b)
    with open(path_of(b.folder, "f"), "r+b", buffering=0):
        write(a.folder, "f", big("n"))
        a.cli("scan")
        wait_until(lambda: len(versions(b, "f")) == 2, 20, "the news on b")
        wait_until(lambda: os.listdir(path_of(b.folder, ".lanyard/tmp")), 20, "b to fetch it")
        write(a.folder, "g", big("n"))
        wait_until(lambda: is_file_with(b.folder, "g", big("n")), 20, "another file of that content on b")
        assert is_file_with(b.folder, "f", big("o"))
    same_trees(a, b)


@test
def a_file_that_is_open_for_writing_is_not_removed():
    a, b = group("a", "b")
    write(a.folder, "f", big("o"))
    same_trees(a, b)
    with open(path_of(b.folder, "f"), "r+b", buffering=0) as f:
        os.unlink(path_of(a.folder, "f"))
        a.cli("scan")
        wait_until(lambda: len(versions(b, "f")) == 2, 20, "the news on b")
        f.seek(0, os.SEEK_END)
        f.write(b"mine")
    wait_until(lambda: is_file_with(a.folder, "f", big("o") + b"mine"), 30, "the edit, which beats the removal")
    same_trees(a, b)


@test
def a_directory_becomes_a_file_while_the_other_one_adds_to_it():
    nodes = a, b, _ = group("a", "b", "c")
    write(a.folder, "d/old", big("o"))
    same_trees(*nodes)
    for n in (a, b):
        n.cli("pause")
    write(b.folder, "d/new", big("n"))
    b.cli("scan")
    shutil.rmtree(path_of(a.folder, "d"))
    write(a.folder, "d", big("f"))
    a.cli("scan")
    for n in (a, b):
        n.cli("resume")
    wait_until(lambda: all(is_file_with(n.folder, "d/new", big("n")) for n in nodes), 30, "the directory everywhere")
    same_trees(*nodes)
    for n in nodes:
        n.settle(2)
        assert is_available(n, "d", big("f")), f"the file is not to be had on {n.name}"
        assert not exists(n.folder, "d/old")


@test
def a_directory_becomes_a_link_while_the_other_one_adds_to_it():
    a, b = group("a", "b")
    write(a.folder, "d/old", b"old")
    same_trees(a, b)
    for n in (a, b):
        n.cli("pause")
    write(b.folder, "d/sub/new", b"new")
    b.cli("scan")
    shutil.rmtree(path_of(a.folder, "d"))
    os.symlink("elsewhere", path_of(a.folder, "d"))
    a.cli("scan")
    for n in (a, b):
        n.cli("resume")
    wait_until(lambda: is_file_with(a.folder, "d/sub/new", b"new"), 40, "the directory on a")
    same_trees(a, b)
    for n in (a, b):
        wait_until(lambda n=n: n.status()["state"] == "idle", 30, f"{n.name} idle")


@test
def new_files_in_the_inodes_of_deleted_ones_are_no_renames():
    a, b = group("a", "b")
    when, names = 1_600_000_000 * 10**9, [str(i) for i in range(20)]

    def unpack(number):                         # like an archive: all of one size, all of one time
        for name in names:
            path = path_of(a.folder, f"{number}/{name}")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(b"%06d" % (number * 100 + int(name)) * 5_000)
            os.utime(path, ns=(when, when))
        return {os.stat(path_of(a.folder, f"{number}/{n}")).st_ino for n in names}

    # Other programs make files, too, and then the inodes are gone. Some file systems never use one again: there it is only an unpacking.
    old = unpack(0)
    for number in range(1, 11):
        same_trees(a, b)
        a.settle()
        shutil.rmtree(path_of(a.folder, str(number - 1)))
        new = unpack(number)
        if new & old:
            break
        old = new
    same_trees(a, b)
    assert read(b.folder, f"{number}/3") == b"%06d" % (number * 100 + 3) * 5_000


@test
def a_directory_becomes_a_link_at_one_go():
    a, b = group("a", "b")
    write(a.folder, "d/sub/f", b"content")
    same_trees(a, b)
    a.settle()
    os.symlink("elsewhere", path_of(a.folder, "link"))
    os.rename(path_of(a.folder, "d"), a.folder + ".away")
    os.rename(path_of(a.folder, "link"), path_of(a.folder, "d"))
    a.settle()
    same_trees(a, b)
    assert os.path.islink(path_of(a.folder, "d")) and os.path.islink(path_of(b.folder, "d"))
    assert versions(a, "d/sub/f")[0]["kind"] == "deleted"


@test
def a_removed_directory_goes_once_it_is_empty():
    a, b = group("a", "b")
    write(a.folder, "d/f", b"content")
    same_trees(a, b)
    b.settle()
    with open(path_of(b.folder, "d/f"), "r+b"):         # keeps the file, and so the directory, in its place
        shutil.rmtree(path_of(a.folder, "d"))
        a.cli("scan")
        wait_until(lambda: sum(v["path"] == "d" for v in versions(b, "d")) == 2 and not b.status()["pending"]["files"] == 0, 20, "the news on b")
        wait_until(lambda: b.status()["pending"]["files"] == 1, 20, "the directory given up for now")
    wait_until(lambda: not exists(b.folder, "d"), 20, "the end of the directory")
    same_trees(a, b)


@test
def what_is_removed_while_it_is_ignored_comes_back():
    a, b = group("a", "b")
    for path in ("f", "d/1", "d/2"):
        write(a.folder, path, b"content")
    same_trees(a, b)
    b.settle()
    write(b.folder, ".lanyard/ignore", b"f\nd\n")
    b.cli("scan")
    os.unlink(path_of(b.folder, "f"))
    shutil.rmtree(path_of(b.folder, "d"))
    b.cli("scan")
    os.unlink(path_of(b.folder, ".lanyard/ignore"))
    b.cli("scan")
    wait_until(lambda: exists(b.folder, "f") and exists(b.folder, "d/2"), 20, "the files on b")
    same_trees(a, b)
    assert exists(a.folder, "f") and exists(a.folder, "d/1")


@test
def old_versions_outlive_the_index():
    a, b = group("a", "b")
    rand = random.Random(1)
    old = {"one block": rand.randbytes(30_000), "blocks": rand.randbytes(2_000_000), "deleted": rand.randbytes(40_000)}
    for path, data in old.items():
        write(a.folder, path, data)
    same_trees(a, b)
    for path in old:
        write(a.folder, path, big("n"))         # what was there before is now in b's kept/ and nowhere else
    os.unlink(path_of(a.folder, "deleted"))
    same_trees(a, b)
    b.settle()
    b.down()
    without_index(b)
    b.up(peers=[a])
    b.wait()
    for path, data in old.items():
        wait_until(lambda path=path, data=data: is_available(b, path, data), 30, f"the old version of {path} on b")
    row = next(v for v in versions(a, "blocks") if v["size"] == 2_000_000)
    assert row["available"] == "peers" and a.cli("cat", "blocks", "--version", row["version"]).raw == old["blocks"]


@test
def what_nobody_had_heard_of_outlives_the_index():
    a, b = group("a", "b")
    write(a.folder, "f", big("f"))
    write(a.folder, "stays", b"")
    same_trees(a, b)
    a.down()
    mine = {"f": b"mine" * 10_000, "d/only here": b"small", "blocks": random.Random(2).randbytes(2_000_000)}
    os.unlink(path_of(b.folder, "f"))
    b.settle(peers=0)
    gone = max(v["time"] for v in versions(b, "f"))
    for path, data in mine.items():
        write(b.folder, path, data)
    b.settle(peers=0)
    b.cli("restore", "--at", gone)
    b.settle(peers=0)
    assert not any(exists(b.folder, path) for path in mine)
    b.down()
    without_index(b)
    a.up()
    b.up(peers=[a])
    same_trees(a, b)
    for path, data in mine.items():
        wait_until(lambda path=path, data=data: is_available(b, path, data), 30, f"the version of {path} on b")
        wait_until(lambda path=path, data=data: len(data) in [v["size"] for v in versions(a, path)], 30, f"the version of {path} on a")
        row = next(v for v in versions(a, path) if v["size"] == len(data))
        assert a.cli("cat", path, "--version", row["version"]).raw == data
    same_trees(a, b)
    assert not any(exists(b.folder, path) for path in list(mine)[1:]) and not a.cli("conflicts", json=True)
    b.cli("restore", "blocks", "--version", next(v["version"] for v in versions(b, "blocks") if v["size"] == 2_000_000))
    wait_until(lambda: is_file_with(a.folder, "blocks", mine["blocks"]), 30, "the restored version on a")


@test
def who_is_alone_asks_nobody():
    a, = group("a")
    write(a.folder, "stays", b"")
    a.settle(peers=0)
    then = versions(a, "stays")[0]["time"]
    write(a.folder, "f", big("f"))
    a.settle(peers=0)
    a.cli("restore", "--at", then)
    a.settle(peers=0)
    assert not exists(a.folder, "f")
    a.down()
    without_index(a)
    a.up()
    wait_until(lambda: is_available(a, "f", big("f")), 30, "what was displaced, as a version")
    assert not exists(a.folder, "f")


def short_torture(seed, *kinds, seconds=8):
    wrong, _ = torture(seed, seconds, kinds=kinds)
    assert not wrong, "\n".join(wrong)


@test
def torture_1():
    short_torture(1, "kill", "pause")


@test
def torture_2():
    short_torture(2, "kill", "pause", "freeze", "index")


@test
def torture_3():
    short_torture(3, "kill", "cut", "split", seconds=15)


tap.main()
