"""Names that get into each other's way: renames in chains and circles, files that become directories, directories moved into each other,
and a file system that takes two names for one (foldfs.py)."""
# first
import os
import re
import shutil
import subprocess
import sys
import tempfile

import lanyard
from lanyard import (Skip, closing, exists, failed, group, is_file_with, kept, make_tree, need_root, node, path_of, random_bytes, read, tap, test,
                     tree_digest, wait_until, write)

HERE = os.path.dirname(os.path.abspath(__file__))
VFAT = os.environ.get("FOLDING") == "vfat"           # which has no modes, and times of 2 s


def same_trees(*nodes, **how):
    return lanyard.same_trees(*nodes, coarse=VFAT, **how)


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
    """Every content that can be had of these nodes: live, kept, packed, or as a version of a conflict."""
    found = set()
    for n in nodes:
        paths = {v["path"] for v in n.cli("log", "--deleted", json=True) + n.cli("conflicts", json=True)}
        for path in (os.fsdecode(p) for p, what in tree_digest(n.folder, content=False).items() if what[0] == "file"):
            paths.add(path)
            found.add(read(n.folder, path))
        found.update(*(kept(n, path) for path in paths))
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

def vfat_disk(base, top):
    """Real, but for kernels that have it; of those is the one that tests/uml boots."""
    image = os.path.join(base, "image")
    with open(image, "wb") as f:
        f.truncate(64 << 20)
    subprocess.run(["mkfs.vfat", "-F", "32", image], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mount", "-o", "loop,utf8=1", image, top], check=True)
    closing(lambda: subprocess.run(["umount", "-l", top], stderr=subprocess.DEVNULL))
    return top


def folding_disk(only=None):
    """A directory on foldfs.py, or with FOLDING=vfat on vfat. With `only`, names fold in what is made in directories of that name, as on
    ext4 with casefold."""
    need_root("mounts a file system")
    if not os.path.exists("/dev/fuse"):
        raise Skip("no /dev/fuse")
    base = tempfile.mkdtemp(prefix="ly.fold.")
    closing(lambda: shutil.rmtree(base))
    store, top = os.path.join(base, "store"), os.path.join(base, "top")
    os.mkdir(store)
    os.mkdir(top)
    if VFAT:
        return vfat_disk(base, top)
    server = subprocess.Popen([sys.executable, os.path.join(HERE, "foldfs.py"), store, top, *([only] if only else [])], stdout=subprocess.PIPE,
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


def with_folding(disk=None):
    """a and c tell cases apart, b does not."""
    a, b, c = node("a"), node("b"), node("c")
    b.folder = os.path.join(disk or folding_disk(), "folder")
    a.init().up()
    for n in (b, c):
        n.join(a.invite(), at=a.address)
    b.up(peers=[a])
    c.up(peers=[a, b])
    for n in (a, b, c):
        n.wait(30, 2)
    return a, b, c


def clashes(n):
    """{hidden path: path shown in its place} of the names that the file system of n takes for one."""
    return {c["path"]: c["current"]["path"] for c in n.cli("conflicts", json=True) if c["reason"]}


def hidden_behind(n, paths):
    """Waits until one of the paths is shown on n and the other ones are listed as conflicts with it, and nothing is left to do. Returns
    the one that is shown."""
    def look():
        status, found = n.status(), clashes(n)
        shown = [p for p in paths if os.path.basename(os.fsencode(p)) in os.listdir(path_of(n.folder, os.path.dirname(p)))]
        well = status["state"] == "idle" and status["pending"]["files"] == 0 and status["conflicts"] == len(found)
        return well and len(shown) == 1 and found == {p: shown[0] for p in paths if p != shown[0]} and shown
    found = wait_until(look, 60, lambda: f"one of {paths} shown, conflicts with the others: {clashes(n)} {n.status()}")
    return os.path.basename(found[0])


def well_again(n):
    wait_until(lambda: n.status()["state"] == "idle" and not n.status()["conflicts"], 60,
               lambda: f"idle without conflicts; it is {n.status()['state']!r}: {n.status()['error']}, {clashes(n)}")


def clash(one, other, where="", disk=None):
    """a writes one, then c the other, which is the later one and shown on b, in whatever order it has heard of them."""
    a, b, c = with_folding(disk)
    one, other = where + one, where + other
    write(a.folder, one, b"of a")
    a.settle(2)
    same_trees(a, b, c)
    write(c.folder, other, b"of c")
    tree = same_trees(a, c)
    assert hidden_behind(b, (one, other)) == os.path.basename(other)
    assert read(b.folder, other) == b"of c"
    for n in (a, b, c):
        n.wait(30, 2)
    row = next(v for v in b.cli("conflicts", json=True) if v["path"] == one)
    assert [v["path"] for v in row["losers"]] == [one] and other in row["reason"], row
    assert b.cli("cat", one).raw == b"of a", "what is hidden cannot be read"
    write(a.folder, "meanwhile", b"goes on")
    wait_until(lambda: is_file_with(b.folder, "meanwhile", b"goes on"), 30, "another file on b")
    b.cli("scan")
    b.kill9()
    b.up(peers=[a, c])
    assert hidden_behind(b, (one, other)) == os.path.basename(other)
    after = same_trees(a, c)
    del after[b"meanwhile"]
    assert after == tree, f"b has changed what the others have: {after}"
    assert len(a.cli("log", one, json=True)) + len(a.cli("log", other, json=True)) == 2, "b makes versions of its own"
    return a, b, c


def all_well(*nodes):
    for n in nodes:
        well_again(n)
    return same_trees(*nodes)


@test
def two_names_that_fold_to_one():
    a, b, c = clash("Foo", "foo")
    rename(a, "Foo", "out-of-the-way")
    assert len(all_well(a, b, c)) == 3


@test
def two_names_that_are_one_when_normalised():
    if VFAT:
        raise Skip("vfat does not normalise")
    a, b, c = clash("caf\u00e9", "cafe\u0301")
    rename(b, "cafe\u0301", "out-of-the-way")      # where they are one; then the other one can be shown
    tree = all_well(a, b, c)
    assert set(tree) == {os.fsencode(p) for p in ("caf\u00e9", "out-of-the-way", "meanwhile")}, tree


@test
def a_directory_that_folds_on_a_disk_that_does_not():
    if VFAT:
        raise Skip("vfat folds everywhere")
    a, b, c = clash("Foo", "foo", "d/+folds/in/", folding_disk("+folds"))
    write(c.folder, "d/FOO", b"1")
    write(c.folder, "d/foo", b"2")
    assert len(same_trees(a, c)) == 8
    wait_until(lambda: is_file_with(b.folder, "d/FOO", b"1") and is_file_with(b.folder, "d/foo", b"2"), 30, "two names beside it")
    os.unlink(path_of(b.folder, "d/+folds/in/foo"))
    wait_until(lambda: is_file_with(b.folder, "d/+folds/in/Foo", b"of a"), 30, "what was hidden behind it")
    assert b"d/+folds/in/foo" not in all_well(a, b, c)


@test
def the_later_of_two_names_is_shown():
    a, b, c = clash("Foo", "foo")
    for n, name in ((a, "Foo"), (c, "foo"), (a, "Foo")):
        write(n.folder, name, b"edited on %s" % n.name.encode())
        same_trees(a, c)
        wait_until(lambda: is_file_with(b.folder, name, b"edited on %s" % n.name.encode()) and hidden_behind(b, ("Foo", "foo")) == name, 60,
                   f"{name} on b")
    assert {b"of a", b"of c", b"edited on a", b"edited on c"} <= contents(a, b, c), "something is lost"
    write(b.folder, "Foo", b"edited where it is shown")
    tree = same_trees(a, c)
    wait_until(lambda: is_file_with(a.folder, "Foo", b"edited where it is shown"), 30, "the edit on a")
    assert hidden_behind(b, ("Foo", "foo")) == "Foo"
    assert is_file_with(a.folder, "foo", b"edited on c"), tree


@test
def the_one_that_is_shown_may_be_chosen():
    a, b, c = clash("Foo", "foo")
    row = b.cli("conflicts", json=True)[0]
    failed(b.cli("resolve", "Foo", "--keep", "0123-1", check=False), 1)
    b.cli("resolve", "Foo", "--keep", row["current"]["version"])
    tree = all_well(a, b, c)
    assert set(tree) == {b"foo", b"meanwhile"} and read(b.folder, "foo") == b"of c", tree
    assert [v["path"] for v in a.cli("log", "--deleted", json=True)] == ["Foo"] and b"of a" in contents(a, b, c) | kept(a, "Foo")


@test
def the_hidden_one_may_be_chosen():
    a, b, c = clash("Foo", "foo")
    row = b.cli("conflicts", json=True)[0]
    b.cli("resolve", "foo", "--keep", row["losers"][0]["version"])
    tree = all_well(a, b, c)
    assert set(tree) == {b"Foo", b"meanwhile"} and read(b.folder, "Foo") == b"of a", tree
    assert b"of c" in kept(b, "foo")


@test
def two_directories_whose_names_fold_to_one():
    a, b, c = with_folding()
    write(a.folder, "Dir/x", b"of a")
    write(a.folder, "Dir/one", b"one")
    write(c.folder, "dir/x", b"of c")
    write(c.folder, "dir/two", random_bytes(4, 100_000))
    tree = same_trees(a, c)
    shown = hidden_behind(b, ("Dir", "dir"))
    hidden = "dir" if shown == "Dir" else "Dir"
    write(a.folder, "meanwhile", b"goes on")
    wait_until(lambda: is_file_with(b.folder, "meanwhile", b"goes on"), 30, "another file on b")
    b.cli("scan")
    for n in (a, b, c):
        n.wait(30, 2)
    after = same_trees(a, c)
    del after[b"meanwhile"]
    assert after == tree, "b has changed what the others have"
    assert set(os.listdir(path_of(b.folder, shown))) == {p.split(b"/")[1] for p in tree if p.startswith(os.fsencode(shown) + b"/")}
    assert b.cli("cat", hidden + "/x").raw == read(a.folder, hidden + "/x")
    row = b.cli("conflicts", json=True)[0]
    done = b.cli("resolve", hidden, "--keep", row["current"]["version"], check=False)
    failed(done, 1)
    assert "directory" in done.err, done.err
    write(c.folder, hidden + "/x", b"edited")
    same_trees(a, c)
    wait_until(lambda: b.cli("cat", hidden + "/x").raw == b"edited", 30, "the edit of what is hidden")
    rename(a, hidden, "elsewhere")
    all_well(a, b, c)


@test
def a_directory_is_shown_and_the_file_of_its_folded_name_waits():
    a, b, c = with_folding()
    write(a.folder, "both", random_bytes(6, 50_000))
    same_trees(a, b, c)
    write(c.folder, "Both/in", b"in a directory")
    tree = same_trees(a, c)
    assert hidden_behind(b, ("both", "Both")) == "Both"
    assert read(b.folder, "Both/in") == b"in a directory" and b.cli("cat", "both").raw == random_bytes(6, 50_000)
    assert same_trees(a, c) == tree
    b.down()
    b.cli("config", "set", "history_days", "0")
    b.up(peers=[a, c])
    hidden_behind(b, ("both", "Both"))
    b.cli("gc")
    assert b.cli("log", "both", json=True)[0]["available"] == "here", "what is hidden has been given up"
    rename(c, "Both", "apart")
    assert set(all_well(a, b, c)) == {b"both", b"apart", b"apart/in"}


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
