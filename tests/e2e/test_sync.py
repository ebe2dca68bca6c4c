"""Two nodes over loopback: whatever is done to one folder is soon so in the other, whatever a folder holds."""
import os
import shutil

from lanyard import (exists, fixture, group, is_file_with, make_tree, path_of, read, same_trees, tap, test, tree_digest,
                     wait_until, write)


@fixture
def pair():
    return group("a", "b")


def place(name):
    """Both nodes and, in the folder of the first, a new directory for one test."""
    a, b = pair()
    os.mkdir(path_of(a.folder, name))
    return a, b


@test
def existing_files_are_taken_in_and_arrive():
    def fill(folder):
        make_tree(folder, seed=1, files=120, dirs=15)
    a, b = group("a", "b", fill=fill)
    digest = same_trees(a, b)
    assert sum(1 for entry in digest.values() if entry[0] == "file") == 120
    status = b.status()
    assert status["files"] == 120 and status["pending"] == {"files": 0, "bytes": 0}, status
    assert status["bytes"] == sum(entry[3] for entry in digest.values() if entry[0] == "file"), status


@test
def files_of_both_sides_join_when_a_device_with_files_joins():
    from lanyard import node
    a, b = node("a"), node("b")
    make_tree_at(a, 2)
    make_tree_at(b, 3, "only-b/")
    a.init().up()
    b.join(a.invite(), at=a.address)
    b.up(peers=[a])
    digest = same_trees(a, b)
    assert b"only-b/file0" in digest and b"file0" in digest


def make_tree_at(node, seed, prefix=""):
    folder = os.path.join(node.folder, prefix)
    os.makedirs(folder)
    make_tree(folder, seed, files=10, dirs=0)


@test
def new_files_travel_both_ways():
    a, b = place("new")
    write(a.folder, "new/from-a", b"a" * 1000)
    write(b.folder, "new/sub/from-b", b"b" * 1000)
    wait_until(lambda: exists(a.folder, "new/sub/from-b") and exists(b.folder, "new/from-a"), 20, "both files on both sides")
    same_trees(a, b, under="new")


@test
def edits_travel_both_ways():
    a, b = place("edit")
    write(a.folder, "edit/f", b"one")
    same_trees(a, b, under="edit")
    write(b.folder, "edit/f", b"two, from b")
    wait_until(lambda: is_file_with(a.folder, "edit/f", b"two, from b"), 20, "b's edit on a")
    with open(path_of(a.folder, "edit/f"), "ab") as f:          # in place, no rename
        f.write(b", and three")
    wait_until(lambda: is_file_with(b.folder, "edit/f", b"two, from b, and three"), 20, "a's edit on b")
    same_trees(a, b, under="edit")
    assert a.status()["conflicts"] == 0


@test
def of_many_quick_edits_the_last_one_stays():
    a, b = place("quick")
    for i in range(200):
        write(a.folder, "quick/f", b"edit %d" % i)
    wait_until(lambda: is_file_with(b.folder, "quick/f", b"edit 199"), 20, "the last edit on b")
    same_trees(a, b, under="quick")


@test
def renames_and_moves_travel():
    a, b = place("mv")
    write(a.folder, "mv/d/one", b"1" * 50_000)
    write(a.folder, "mv/d/deep/two", b"2")
    same_trees(a, b, under="mv")
    os.rename(path_of(a.folder, "mv/d/one"), path_of(a.folder, "mv/uno"))
    os.rename(path_of(b.folder, "mv/d/deep"), path_of(b.folder, "mv/moved"))
    wait_until(lambda: exists(a.folder, "mv/moved/two") and exists(b.folder, "mv/uno"), 20, "both renames on both sides")
    digest = same_trees(a, b, under="mv")
    assert not {b"mv/d/one", b"mv/d/deep", b"mv/d/deep/two"} & digest.keys(), sorted(digest)


@test
def a_delete_right_after_the_arrival_is_noticed():
    a, b = place("now")
    for i in range(20):
        write(a.folder, f"now/f{i}", b"x")
        wait_until(lambda i=i: exists(b.folder, f"now/f{i}"), 20, "the file on b")
        os.unlink(path_of(b.folder, f"now/f{i}"))
    wait_until(lambda: not os.listdir(path_of(a.folder, "now")), 20, lambda: f"nothing left on a: {os.listdir(path_of(a.folder, 'now'))}")


@test
def deletes_travel_both_ways():
    a, b = place("rm")
    for name in ("x", "y", "dir/z", "dir/sub/zz"):
        write(a.folder, f"rm/{name}", name.encode())
    same_trees(a, b, under="rm")
    os.unlink(path_of(a.folder, "rm/x"))
    os.unlink(path_of(b.folder, "rm/y"))
    shutil.rmtree(path_of(b.folder, "rm/dir"))
    wait_until(lambda: not os.listdir(path_of(a.folder, "rm")), 20, "nothing left on a")
    wait_until(lambda: not os.listdir(path_of(b.folder, "rm")), 20, "nothing left on b")
    same_trees(a, b, under="rm")


@test
def empty_files_and_directories_arrive():
    a, b = place("empty")
    write(a.folder, "empty/file")
    os.makedirs(path_of(a.folder, "empty/dir/in/dir"))
    digest = same_trees(a, b, under="empty")
    assert digest[b"empty/dir/in/dir"][0] == "dir" and digest[b"empty/file"][3] == 0


@test
def symlinks_are_data_and_never_followed():
    a, b = place("link")
    outside = os.path.join(os.path.dirname(a.folder), "outside")
    os.mkdir(outside)
    write(outside, "secret", b"not yours")
    for name, target in (("dangling", "no/such/thing"), ("absolute", outside), ("relative", "../edit"), ("loop", "loop"),
                         ("bytes", b"\xff\n")):
        os.symlink(os.fsencode(target), path_of(a.folder, f"link/{name}"))
    digest = same_trees(a, b, under="link")
    assert digest[b"link/absolute"] == ("symlink", None, None, None, os.fsencode(outside))
    assert not any(path.startswith(b"link/absolute/") for path in digest)
    os.unlink(path_of(b.folder, "link/dangling"))
    os.symlink("elsewhere", path_of(b.folder, "link/dangling"))
    wait_until(lambda: tree_digest(a.folder)[b"link/dangling"][4] == b"elsewhere", 20, "the changed link on a")


@test
def a_symlink_may_be_as_long_as_a_path():
    a, b = place("longlink")
    for length in (1024, 1025, 4000):
        os.symlink("x" * length, path_of(a.folder, f"longlink/{length}"))
    wait_until(lambda: exists(b.folder, "longlink/4000"), 20, "the longest link on b")
    same_trees(a, b, under="longlink")


@test
def modes_and_nanosecond_times_arrive():
    a, b = place("meta")
    for mode in (0o400, 0o444, 0o600, 0o644, 0o755, 0o777, 0o640):
        write(a.folder, f"meta/mode{mode:o}", b"m", mode=mode)
    for i, ns in enumerate((1, 999_999_999, 1_234_567_890_123_456_789, 4_102_444_800_000_000_001, -1_500_000_001)):
        write(a.folder, f"meta/time{i}", b"t", mtime_ns=ns)
    os.mkdir(path_of(a.folder, "meta/dir"), 0o750)
    same_trees(a, b, under="meta")
    os.chmod(path_of(b.folder, "meta/mode644"), 0o755)                       # metadata alone
    os.utime(path_of(b.folder, "meta/time0"), ns=(77_000_000_007, 77_000_000_007))
    os.chmod(path_of(b.folder, "meta/dir"), 0o700)
    wait_until(lambda: tree_digest(a.folder)[b"meta/mode644"][1] == 0o755, 20, "the changed mode on a")
    digest = same_trees(a, b, under="meta")
    assert digest[b"meta/time0"][2] == 77_000_000_007 and digest[b"meta/dir"][1] == 0o700


ODD_NAMES = (b"new\nline", b"-rf", b"--help", b"n" * 255, b"\xff\xfe invalid \x80", "mixed é\U0001f600".encode(), b" lead and trail ",
             b"tab\there", b"q'uo\"te", b"back\\slash", b"*?[a]", b"\x01\x1b[31m", b"#comment", b"!bang", b".hidden", b"...", b"~", b"CON",
             b".lanyard2", b".lanyardignore~", b"e\xcc\x81", b"\xc3\xa9", b"A", b"a")


@test
def odd_names_arrive_in_files_directories_and_links():
    a, b = place("odd")
    for name in ODD_NAMES:
        write(a.folder, b"odd/" + name, name)
        write(a.folder, b"odd/d/" + name + b"/" + name, name)
    os.symlink(ODD_NAMES[0], path_of(a.folder, b"odd/" + ODD_NAMES[4] + b"l"))
    digest = same_trees(a, b, under="odd")
    for name in ODD_NAMES:
        assert b"odd/" + name in digest and b"odd/d/" + name + b"/" + name in digest, name
    os.unlink(path_of(b.folder, b"odd/" + ODD_NAMES[0]))
    wait_until(lambda: not exists(a.folder, b"odd/" + ODD_NAMES[0]), 20, "the deletion of an odd name on a")


@test
def a_deep_path_arrives():
    a, b = place("deep")
    path = "deep/" + "/".join(["d" * 100] * 30)
    at = os.open(a.folder, os.O_RDONLY | os.O_DIRECTORY)
    for part in path.split("/"):
        if not os.path.isdir(f"/proc/self/fd/{at}/{part}"):
            os.mkdir(part, dir_fd=at)
        at, old = os.open(part, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at), at
        os.close(old)
    with open(os.open("leaf", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=at), "wb") as f:
        f.write(b"deep")
    os.close(at)
    wait_until(lambda: is_file_with(b.folder, path + "/leaf", b"deep"), 20, "the deep file on b")


@test
def hard_links_are_separate_files():
    a, b = place("hard")
    write(a.folder, "hard/one", b"linked")
    os.link(path_of(a.folder, "hard/one"), path_of(a.folder, "hard/two"))
    same_trees(a, b, under="hard")
    assert os.stat(path_of(b.folder, "hard/one")).st_ino != os.stat(path_of(b.folder, "hard/two")).st_ino
    write(b.folder, "hard/two", b"now different")
    wait_until(lambda: is_file_with(a.folder, "hard/two", b"now different"), 20, "the edit of one link on a")
    assert read(a.folder, "hard/one") == b"linked"


@test
def kinds_may_change():
    a, b = place("kind")
    write(a.folder, "kind/file-to-dir", b"f")
    write(a.folder, "kind/dir-to-file/inside", b"d")
    write(a.folder, "kind/file-to-link", b"l")
    same_trees(a, b, under="kind")
    os.unlink(path_of(a.folder, "kind/file-to-dir"))
    write(a.folder, "kind/file-to-dir/inside", b"new")
    shutil.rmtree(path_of(a.folder, "kind/dir-to-file"))
    write(a.folder, "kind/dir-to-file", b"new")
    os.unlink(path_of(a.folder, "kind/file-to-link"))
    os.symlink("anywhere", path_of(a.folder, "kind/file-to-link"))
    wait_until(lambda: os.path.islink(path_of(b.folder, "kind/file-to-link")), 20, "the link on b")
    digest = same_trees(a, b, under="kind")
    assert digest[b"kind/dir-to-file"][0] == "file" and digest[b"kind/file-to-dir/inside"][0] == "file"


@test
def special_files_are_skipped_and_counted():
    a, b = group("a", "b")
    os.mkfifo(path_of(a.folder, "pipe"))
    write(a.folder, "beside", b"x")
    a.settle()
    assert is_file_with(b.folder, "beside", b"x") and not exists(b.folder, "pipe")
    assert a.status()["ignored_errors"] == 1, a.status()
    a.settle()
    assert a.status()["ignored_errors"] == 1, "counted again by another scan"
    os.unlink(path_of(a.folder, "pipe"))
    a.settle()
    assert a.status()["ignored_errors"] == 0, "still counted when it is gone"


@test
def a_large_file_arrives_and_so_does_a_change_in_its_middle():
    a, b = place("large")
    data = os.urandom(40 << 20)
    write(a.folder, "large/f", data)
    same_trees(a, b, under="large", timeout=60)
    with open(path_of(b.folder, "large/f"), "r+b") as f:
        f.seek(20 << 20)
        f.write(b"in place")
    changed = data[:20 << 20] + b"in place" + data[(20 << 20) + 8:]
    wait_until(lambda: is_file_with(a.folder, "large/f", changed), 60, "the change on a")


tap.main()
