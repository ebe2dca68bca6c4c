"""Names that get into each other's way: renames in chains and circles, files that become directories, directories moved into each other,
and a file system that takes two names for one (foldfs.py)."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from lanyard import (Skip, closing, exists, group, is_file_with, make_tree, need_root, node, path_of, random_bytes, read, same_trees, tap, test,
                     tree_digest, wait_until, write)

HERE = os.path.dirname(os.path.abspath(__file__))


def rename(n, old, new):
    os.rename(path_of(n.folder, old), path_of(n.folder, new))


def apart(a, b, on_a, on_b):
    """Both do something while they do not see each other, and then they do."""
    b.down()
    on_a()
    a.cli("scan")
    a.down()
    b.up()
    on_b()
    b.cli("scan")
    a.up(peers=[b])
    for n in (a, b):
        n.wait(30, 1)
    return same_trees(a, b)


def contents(*nodes):
    """Every content that can be had of these nodes: live, in kept/, or as a version of a conflict."""
    found = set()
    for n in nodes:
        for place, _, names in os.walk(os.fsencode(n.folder)):
            for name in names:
                path = os.path.join(place, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as f:
                        found.add(f.read())
        for conflict in n.cli("conflicts", json=True):
            for version in n.cli("log", conflict["path"], json=True):
                done = n.cli("cat", conflict["path"], "--version", version["version"], check=False)
                found.add(done.raw)
    return found


# ---- a file system where all names are names ----

@test
def only_the_case_of_a_name_changes():
    a, b = group("a", "b", fill=lambda folder: write(folder, "d/Name", b"x"))
    same_trees(a, b)
    rename(a, "d/Name", "d/name")
    wait_until(lambda: exists(b.folder, "d/name"), 30, "d/name on b")
    rename(b, "d", "D")
    wait_until(lambda: exists(a.folder, "D/name"), 30, "D/name on a")
    tree = same_trees(a, b)
    assert set(tree) == {b"D", b"D/name"}, tree


@test
def names_that_differ_only_in_case_live_side_by_side():
    a, b = group("a", "b")
    write(a.folder, "Foo", b"upper")
    write(b.folder, "foo", b"lower")
    write(a.folder, "caf\u00e9", b"composed")
    write(b.folder, "cafe\u0301", b"decomposed")
    for n in (a, b):
        n.settle()
    assert len(same_trees(a, b)) == 4
    assert a.status()["conflicts"] == 0


@test
def two_files_swap_their_names():
    a, b = group("a", "b")
    one, two = random_bytes(1, 300_000), random_bytes(2, 200_000)
    write(a.folder, "a", one)
    write(a.folder, "b", two)
    same_trees(a, b)
    for n in (a, b, a):
        rename(n, "a", "t")
        rename(n, "b", "a")
        rename(n, "t", "b")
        same_trees(a, b)
    for n in (a, b):
        n.settle()
        assert read(n.folder, "a") == two and read(n.folder, "b") == one
        assert n.status()["conflicts"] == 0


@test
def a_chain_of_renames():
    a, b = group("a", "b")
    data = [random_bytes(i, 100_000 + i) for i in range(8)]
    for i in range(8):
        write(a.folder, f"f{i}", data[i])
    same_trees(a, b)
    for i in reversed(range(8)):                     # each takes the name that the next one has just left
        rename(a, f"f{i}", f"f{i + 1}")
    a.settle()
    b.settle()
    tree = same_trees(a, b)
    assert set(tree) == {b"f%d" % i for i in range(1, 9)}
    for i in range(8):
        assert is_file_with(b.folder, f"f{i + 1}", data[i])
    assert b.status()["conflicts"] == 0 and a.status()["conflicts"] == 0


@test
def file_directory_and_symlink_take_each_others_place():
    def make(folder):
        write(folder, "file", b"a file")
        write(folder, "dir/in/it", b"in a directory")
        os.symlink("target", path_of(folder, "link"))
    a, b = group("a", "b", fill=make)
    same_trees(a, b)
    for n in (a, b, a):
        rename(n, "file", "t")
        rename(n, "dir", "file")
        rename(n, "link", "dir")
        rename(n, "t", "link")
        n.settle()
        same_trees(a, b)
    assert b"a file" in contents(a) and b"in a directory" in contents(b)


@test
def both_make_something_else_of_one_name():
    kinds = {"file": lambda f: write(f, "x", b"a file of %s" % os.fsencode(os.path.basename(os.path.dirname(f)))),
             "dir": lambda f: write(f, "x/y", b"in a directory"), "link": lambda f: os.symlink("target", path_of(f, "x"))}
    for on_a, on_b in (("file", "dir"), ("dir", "link"), ("link", "file")):
        a, b = group("a", "b", fill=lambda folder: write(folder, "x", b"before"))
        same_trees(a, b)

        def become(n, kind):
            os.unlink(path_of(n.folder, "x"))
            kinds[kind](n.folder)
        apart(a, b, lambda: become(a, on_a), lambda: become(b, on_b))
        if "dir" in (on_a, on_b):
            assert b"in a directory" in contents(a, b)
        if "file" in (on_a, on_b):
            assert any(c.startswith(b"a file of") for c in contents(a, b))
        for n in (a, b):
            n.down()


@test
def directories_are_moved_into_each_other():
    def make(folder):
        write(folder, "a/in-a", b"in a")
        write(folder, "b/in-b", b"in b")
    a, b = group("a", "b", fill=make)
    same_trees(a, b)
    tree = apart(a, b, lambda: rename(a, "a", "b/a"), lambda: rename(b, "b", "a/b"))
    assert {b"in a", b"in b"} <= contents(a) and {b"in a", b"in b"} <= contents(b), tree
    live = {p.rsplit(b"/", 1)[-1] for p in tree}
    assert {b"in-a", b"in-b"} <= live, tree


@test
def both_rename_one_file_differently():
    a, b = group("a", "b", fill=lambda folder: write(folder, "x", b"content"))
    same_trees(a, b)
    tree = apart(a, b, lambda: rename(a, "x", "on-a"), lambda: rename(b, "x", "on-b"))
    assert set(tree) == {b"on-a", b"on-b"}, tree


@test
def ten_thousand_files_of_two_contents():
    a, b = group("a", "b")
    same = random_bytes(3, 5000)
    for i in range(10_000):
        write(a.folder, f"d{i % 50}/{i}", same if i % 2 else b"")
    tree = same_trees(a, b, timeout=120)
    assert len([p for p in tree if b"/" in p]) == 10_000
    assert b.status()["fetched"]["bytes"] < 100 * len(same), "the same content is fetched again and again"
    rename(a, "d7", "renamed")
    shutil.rmtree(path_of(b.folder, "d8"))
    tree = same_trees(a, b, timeout=60)
    wait_until(lambda: exists(b.folder, "renamed/7") and not exists(a.folder, "d8"), 60, "the rename and the removal")
    same_trees(a, b, timeout=60)


# ---- one where names fold ----

def folding_disk():
    """A directory on foldfs.py."""
    need_root("mounts a file system")
    if not os.path.exists("/dev/fuse"):
        raise Skip("no /dev/fuse")
    base = tempfile.mkdtemp(prefix="ly.fold.")
    closing(lambda: shutil.rmtree(base))
    store, top = os.path.join(base, "store"), os.path.join(base, "top")
    os.mkdir(store)
    os.mkdir(top)
    server = subprocess.Popen([sys.executable, os.path.join(HERE, "foldfs.py"), store, top], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)

    def end():
        subprocess.run(["umount", "-l", top], stderr=subprocess.DEVNULL)
        server.kill()
        server.communicate()
    closing(end)
    if server.stdout.readline() != "mounted\n":
        server.wait()
        raise Skip(f"no FUSE here: {server.stderr.read().strip().splitlines()[-1:]}")
    return top


def with_folding():
    """a and c tell cases apart, b does not."""
    a, b, c = node("a"), node("b"), node("c")
    b.folder = os.path.join(folding_disk(), "folder")
    a.init().up()
    for n in (b, c):
        n.join(a.invite(), at=a.address)
    b.up(peers=[a])
    c.up(peers=[a, b])
    for n in (a, b, c):
        n.wait(30, 2)
    return a, b, c


def named_as_trouble(n, *paths):
    def look():
        status = n.status()
        return status["state"] == "error" and any(p in (status["error"] or "") for p in paths) and "name" in status["error"]
    wait_until(look, 30, lambda: f"state error that names one of {paths}: {n.status()['state']} {n.status()['error']}")


def well_again(n):
    wait_until(lambda: n.status()["state"] == "idle" and n.status()["error"] is None, 60,
               lambda: f"state idle by itself; it is {n.status()['state']!r}: {n.status()['error']}")


def clash(one, other):
    a, b, c = with_folding()
    write(a.folder, one, b"of a")
    write(c.folder, other, b"of c")
    same_trees(a, c)
    named_as_trouble(b, one, other)
    write(a.folder, "meanwhile", b"goes on")
    wait_until(lambda: is_file_with(b.folder, "meanwhile", b"goes on"), 30, "another file on b")
    shown = [p for p in (one, other) if os.fsencode(p) in os.listdir(os.fsencode(b.folder))]
    assert len(shown) == 1, f"on b there is {shown}"
    hidden = other if shown[0] == one else one
    assert read(b.folder, shown[0]) == (b"of a" if shown[0] == one else b"of c")
    tree = same_trees(a, c)
    assert len(tree) == 3, f"b has changed what the others have: {tree}"
    edits = len(a.cli("log", one, json=True)) + len(a.cli("log", other, json=True))
    assert edits == 2, "b makes versions of its own"
    b.kill9()
    b.up(peers=[a, c])
    named_as_trouble(b, one, other)
    assert same_trees(a, c) == tree
    rename(a, hidden, "out-of-the-way")
    well_again(b)
    assert len(same_trees(a, b, c)) == 3


@test
def two_names_that_fold_to_one():
    clash("Foo", "foo")


@test
def two_names_that_are_one_when_normalised():
    clash("caf\u00e9", "cafe\u0301")


@test
def two_directories_whose_names_fold_to_one():
    a, b, c = with_folding()
    write(a.folder, "Dir/x", b"of a")
    write(a.folder, "Dir/one", b"one")
    write(c.folder, "dir/x", b"of c")
    write(c.folder, "dir/two", b"two")
    tree = same_trees(a, c)
    named_as_trouble(b, "Dir", "dir")
    write(a.folder, "meanwhile", b"goes on")
    wait_until(lambda: is_file_with(b.folder, "meanwhile", b"goes on"), 30, "another file on b")
    b.cli("scan")
    after = same_trees(a, c)
    del after[b"meanwhile"]
    assert after == tree, "b has changed what the others have"
    there = [d for d in ("Dir", "dir") if os.fsencode(d) in os.listdir(os.fsencode(b.folder))]
    assert len(there) == 1
    rename(a, "dir" if there == ["Dir"] else "Dir", "elsewhere")
    well_again(b)
    same_trees(a, b, c)


@test
def only_the_case_changes_and_one_of_them_folds():
    a, b, c = with_folding()
    write(a.folder, "Name", random_bytes(5, 100_000))
    write(a.folder, "d/Deep", b"deep")
    same_trees(a, b, c)
    rename(a, "Name", "name")
    rename(c, "d/Deep", "d/deep")
    tree = same_trees(a, c)
    wait_until(lambda: {b"name", b"d"} <= set(os.listdir(os.fsencode(b.folder))) and os.listdir(path_of(b.folder, "d")) == [b"deep"], 30,
               lambda: f"the new names on b: {os.listdir(b.folder)}")
    well_again(b)
    assert same_trees(a, b, c) == tree
    rename(c, "d", "D")
    wait_until(lambda: b"D" in os.listdir(os.fsencode(b.folder)), 30, "D on b")
    well_again(b)
    assert set(same_trees(a, b, c)) == {b"name", b"D", b"D/deep"}


tap.main()
