"""Snapshots: made here, known there, brought back and written as archives that GNU tar reads."""
import io
import os
import shutil
import stat
import subprocess
import tarfile

from lanyard import closing, exists, failed, fixture, group, node, path_of, read, tap, temp_dir, test, wait_until, write

MIB = 1 << 20


def snapshots(n):
    return {s["name"]: s for s in n.cli("snapshot", "list", json=True)}


def settle(*nodes):
    for n in nodes:
        n.settle()


@fixture
def pair():
    return group("a", "b")


def extract(archive):
    """The directory that GNU tar makes of it."""
    to = temp_dir("out")
    closing(lambda: shutil.rmtree(to))
    subprocess.run(["tar", "-xpf", archive, "-C", to, "--no-same-owner"], check=True, stderr=subprocess.DEVNULL)   # it wonders at old times
    return to


def tree(folder):
    """path -> what is there, for whatever is not the node's own."""
    found = {}
    for directory, names, files in os.walk(os.fsencode(folder)):
        if b".lanyard" in names:
            names.remove(b".lanyard")
        for name in names + files:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            key = os.path.relpath(path, os.fsencode(folder))
            if stat.S_ISLNK(st.st_mode):
                found[key] = ("link", os.readlink(path))
            elif stat.S_ISDIR(st.st_mode):
                found[key] = ("dir", stat.S_IMODE(st.st_mode))
            else:
                with open(path, "rb") as f:
                    found[key] = ("file", stat.S_IMODE(st.st_mode), st.st_mtime_ns, f.read())
    return found


@test
def a_snapshot_is_known_everywhere_and_can_be_brought_back_elsewhere():
    a, b = pair()
    os.makedirs(path_of(a.folder, "dir/deep"))
    write(a.folder, "dir/deep/file", b"first" * 1000)
    write(a.folder, "stays", b"s" * 3000)
    write(a.folder, "goes", b"g" * 5000)
    os.symlink("stays", path_of(a.folder, "link"))
    a.settle()
    before = tree(a.folder)
    a.cli("snapshot", "create", "before the move")
    a.wait()
    assert snapshots(b)["before the move"]["device"] == "a"
    assert snapshots(b)["before the move"]["files"] == 3, snapshots(b)
    assert snapshots(b)["before the move"]["bytes"] == 13000 and snapshots(b)["before the move"]["complete"], snapshots(b)
    write(a.folder, "dir/deep/file", b"second" * 1000)
    os.unlink(path_of(a.folder, "goes"))
    os.unlink(path_of(a.folder, "link"))
    write(a.folder, "link", b"a file now")
    write(a.folder, "new/one", b"new")
    a.settle()
    after = tree(a.folder)
    plan = b.cli("snapshot", "restore", "--dry-run", "before the move", json=True)
    assert {(c["path"], c["change"]) for c in plan["changes"]} == {
        ("dir/deep/file", "restore"), ("goes", "restore"), ("link", "restore"), ("new", "delete"), ("new/one", "delete")}, plan
    assert tree(b.folder) == after
    done = b.cli("snapshot", "restore", "before the move", json=True)
    assert (done["restored"], done["deleted"]) == (3, 2), done
    assert tree(b.folder) == before
    b.wait()
    wait_until(lambda: tree(a.folder) == before, 20, "the old state on a")
    for path, old in (("dir/deep/file", b"second" * 1000), ("new/one", b"new"), ("link", b"a file now")):
        assert any(b.cli("cat", path, "--version", v["version"]).raw == old
                   for v in b.cli("log", path, json=True) if v["kind"] == "file"), path
    assert b.cli("snapshot", "restore", "before the move", json=True)["changes"] == []
    assert b.status()["conflicts"] == 0 and a.status()["conflicts"] == 0


@test
def one_path_of_it():
    a, b = pair()
    write(a.folder, "one/x", b"1")
    write(a.folder, "two/x", b"1")
    a.settle()
    a.cli("snapshot", "create", "part")
    write(a.folder, "one/x", b"2")
    write(a.folder, "one/y", b"2")
    write(a.folder, "two/x", b"2")
    a.settle()
    done = a.cli("snapshot", "restore", "part", "one", json=True)
    assert (done["restored"], done["deleted"]) == (1, 1), done
    assert read(a.folder, "one/x") == b"1" and not exists(a.folder, "one/y") and read(a.folder, "two/x") == b"2"
    failed(a.cli("snapshot", "restore", "part", "never", check=False), 1)
    a.wait()


@test
def what_was_not_recorded_yet_stays_as_a_version():
    a, _ = pair()
    write(a.folder, "edited", b"old")
    a.settle()
    a.cli("snapshot", "create", "calm")
    a.cli("pause")
    write(a.folder, "edited", b"unsaved by anybody")
    a.cli("snapshot", "restore", "calm")
    assert read(a.folder, "edited") == b"old"
    assert any(a.cli("cat", "edited", "--version", v["version"]).raw == b"unsaved by anybody" for v in a.cli("log", "edited", json=True))
    a.cli("resume")
    a.wait()


@test
def an_archive_is_what_the_folder_was():
    a, b = pair()
    long = "/".join("name of many bytes %d" % i for i in range(12))
    write(a.folder, long, b"deep")
    write(a.folder, "verknüpft", b"u")
    write(a.folder, os.fsdecode(b"\xff\xfe raw"), b"r")
    write(a.folder, "empty", b"")
    write(a.folder, "large", os.urandom(9 * MIB + 77))
    write(a.folder, "script", b"#!/bin/sh\n")
    os.chmod(path_of(a.folder, "script"), 0o750)
    os.utime(path_of(a.folder, "script"), ns=(0, 981173106_123456789))
    os.utime(path_of(a.folder, "empty"), ns=(0, -1_500_000_000))
    os.makedirs(path_of(a.folder, "hollow/dir"))
    os.chmod(path_of(a.folder, "hollow"), 0o700)
    os.symlink("x" * 300, path_of(a.folder, "far"))
    a.settle()
    before = tree(a.folder)
    a.cli("snapshot", "create", "whole")
    a.wait()
    write(a.folder, "large", os.urandom(3 * MIB))
    write(a.folder, "later", b"l")
    a.settle()
    archive = os.path.join(temp_dir("archives"), "whole.tar")
    b.cli("snapshot", "export", "whole", archive)
    assert tree(extract(archive)) == before
    assert os.listdir(os.path.dirname(archive)) == ["whole.tar"]
    listed = subprocess.run(["tar", "-tf", archive], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    assert listed.stderr == b"" and listed.stdout.count(b"\n") == len(before), listed
    with tarfile.open(archive) as t:                # another reader
        assert len(t.getnames()) == len(before)
    content = read(os.path.dirname(archive), "whole.tar")
    failed(b.cli("snapshot", "export", "whole", archive, check=False), 1)
    assert read(os.path.dirname(archive), "whole.tar") == content
    assert b.cli("snapshot", "export", "whole", "-").raw == content


@test
def contents_that_only_another_device_has_are_fetched():
    a, b = pair()
    old = os.urandom(5 * MIB)
    write(a.folder, "elsewhere", old)
    a.settle()
    a.cli("snapshot", "create", "held by b")
    write(a.folder, "elsewhere", b"overwritten in place")     # b puts the old one away; a has it no more
    a.settle()
    assert not snapshots(a)["held by b"]["complete"] and snapshots(b)["held by b"]["complete"]
    archive = os.path.join(temp_dir("fetched"), "x.tar")
    a.cli("snapshot", "export", "held by b", archive)
    assert read(extract(archive), "elsewhere") == old
    a.wait()
    assert snapshots(a)["held by b"]["complete"]


@test
def a_removal_syncs():
    a, b = pair()
    write(a.folder, "seen", b"s")
    a.cli("snapshot", "create", "for a while")
    a.wait()
    assert "for a while" in snapshots(b)
    b.cli("snapshot", "remove", "for a while")
    b.wait()
    wait_until(lambda: "for a while" not in snapshots(a), 10, "removed on a")
    for n in (a, b):                                # none of this is a change of a file
        listed = n.cli("log", json=True) + n.cli("log", "--deleted", json=True)
        assert listed and not [v for v in listed if v["path"].startswith(".lanyard")], listed


@test
def wrong_requests():
    a, b = pair()
    a.cli("snapshot", "create", "once")
    a.wait()
    failed(a.cli("snapshot", "create", "once", check=False), 1)
    failed(b.cli("snapshot", "create", "once", check=False), 1)
    for op in ("remove", "restore"):
        failed(a.cli("snapshot", op, "never made", check=False), 1)
    archive = os.path.join(temp_dir("none"), "none.tar")
    failed(a.cli("snapshot", "export", "never made", archive, check=False), 1)
    assert os.listdir(os.path.dirname(archive)) == []
    for name in ("", ".", "..", "a/b", "a\nb", "n" * 65):
        failed(a.cli("snapshot", "create", name, check=False), 1)
    for words in (["create"], ["remove"], ["export", "once"], ["melt", "x"], ["create", "--dry-run", "x"], ["list", "x"]):
        failed(a.cli("snapshot", *words, check=False), 2)
    assert "once" in snapshots(a)


@test
def contents_that_nobody_online_has():
    n = node("alone").init().config("history_alone", "false").up()
    write(n.folder, "f", b"1" * 5000)
    n.cli("scan")
    n.cli("snapshot", "create", "first")
    write(n.folder, "f", b"2" * 6000)
    n.cli("scan")
    archive = os.path.join(temp_dir("lost"), "x.tar")
    for words in (("restore", "first"), ("export", "first", archive)):
        done = n.cli("snapshot", *words, check=False)
        failed(done, 1)
        assert "f" in done.err and "no device that is online" in done.err, done.err
    assert os.listdir(os.path.dirname(archive)) == [] and read(n.folder, "f") == b"2" * 6000
    assert n.status()["pending"]["files"] == 0


@test
def retention_spares_what_a_snapshot_names():
    a, b = group("c", "d")
    b.cli("config", "set", "history_days", "0")
    b.down().up(peers=[a])
    old, passing = os.urandom(300_000), os.urandom(200_000)
    write(a.folder, "passing", passing)
    a.settle()
    write(a.folder, "passing", b"2" * 5000)
    write(a.folder, "named", old)
    a.settle()
    a.cli("snapshot", "create", "pinned")
    write(a.folder, "named", b"3" * 5000)
    a.settle()
    a.down()
    b.cli("gc")                                                    # if it has not been done by itself by now
    assert {v["size"]: v["available"] for v in b.cli("log", "passing", json=True)}.get(len(passing), "gone") == "gone"
    assert [v["available"] for v in b.cli("log", "named", json=True)] == ["here", "here"]
    archive = os.path.join(temp_dir("pinned"), "x.tar")
    b.cli("snapshot", "export", "pinned", archive)                 # out of a pack by now
    out = extract(archive)
    assert read(out, "named") == old and read(out, "passing") == b"2" * 5000
    b.cli("snapshot", "restore", "pinned")
    assert read(b.folder, "named") == old
    write(b.folder, "named", b"4" * 5000)
    b.cli("scan")
    b.cli("snapshot", "remove", "pinned")
    b.cli("gc")
    assert all(v["available"] == "gone" for v in b.cli("log", "named", json=True) if v["size"] == len(old))


@test
def automatic_ones():
    n = node("clock").init()
    failed(n.cli("config", "set", "snapshots", "sometimes", check=False), 2)
    n.cli("config", "set", "snapshots", "daily=3 hourly=2")
    write(n.folder, "f", b"content")
    n.up()
    wait_until(lambda: len(snapshots(n)) == 2, 20, lambda: f"two of them, not {snapshots(n)}")
    daily, hourly = sorted(snapshots(n))
    assert daily.startswith("auto-daily-2") and hourly.startswith("auto-hourly-2"), (daily, hourly)
    assert {s["files"] for s in snapshots(n).values()} == {1}


@test
def two_of_one_name():
    a, b = group("x", "y")
    a.cli("pause")
    b.cli("pause")
    write(a.folder, "from a", b"a")
    write(b.folder, "from b", b"b")
    a.cli("snapshot", "create", "same")
    b.cli("snapshot", "create", "same")
    a.cli("resume")
    b.cli("resume")
    settle(a, b)
    for n in (a, b):
        both = n.cli("snapshot", "list", json=True)
        assert [(s["name"], s["device"], s["current"]) for s in both] == [("same", "y", True), ("same", "x", False)], both
        names = {}
        for d in ("x", "y"):
            with tarfile.open(fileobj=io.BytesIO(n.cli("snapshot", "export", "--device", d, "same", "-").raw)) as t:
                names[d] = t.getnames()
        assert names == {"x": ["from a"], "y": ["from b"]}, names
    a.cli("snapshot", "remove", "same")
    a.wait()
    assert not snapshots(a) and not snapshots(b)


tap.main()
