"""Nothing left: of blocks or inodes on a small ext4, under the folder or under the index, or of file descriptors. It is said, nothing is
lost, and the node goes on by itself as soon as there is some again."""
import hashlib
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import tempfile

from lanyard import (closing, Failed, group, in_error, is_file_with, make_tree, need_root, node, path_of, random_bytes, read, same_trees, Skip,
                     tap, test, tree_digest, wait_until, well_again, write)

MIB = 1 << 20


def small_disk(size, *options):
    """A directory on an ext4 of its own."""
    need_root("mounts a small file system")
    if not shutil.which("mkfs.ext4"):
        raise Skip("no mkfs.ext4")
    base = tempfile.mkdtemp(prefix="ly.disk.")
    closing(lambda: shutil.rmtree(base))
    image, top = os.path.join(base, "image"), os.path.join(base, "top")
    os.mkdir(top)
    with open(image, "wb") as f:
        f.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", *options, image], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, top], capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"no mount here: {done.stderr.strip()}")
    closing(lambda: subprocess.run(["umount", "-l", top], check=True))
    return top


def pair(home_on=None, folder_on=None):
    """Two connected nodes; home or folder of the second on such a disk."""
    a, b = node("a"), node("b")
    if home_on:
        b.home = os.path.join(home_on, "home")
    if folder_on:
        b.folder = os.path.join(folder_on, "folder")
    a.init().up()
    b.join(a.invite(), at=a.address)
    b.up(peers=[a])
    a.wait(30, 1)
    return a, b


def fill(top, keep=0):
    """Takes all blocks of a disk but about `keep` bytes; returns the file to remove."""
    path = os.path.join(top, "filler")
    with open(path, "wb", buffering=0) as f:
        for size in (MIB, 4096, 4096, 4096):         # what is set aside for delayed writes comes back with fsync
            try:
                while keep == 0 or os.statvfs(top).f_bavail * os.statvfs(top).f_frsize > keep + size:
                    f.write(bytes(size))
            except OSError:
                os.fsync(f.fileno())
    return path


def versions(n, path):
    return [v["version"] for v in n.cli("log", path, json=True)]


@test
def the_disk_of_the_folder_is_full():
    top = small_disk(48 * MIB)
    a, b = pair(folder_on=top)
    write(a.folder, "before", b"before")
    write(a.folder, "replaced", b"old")
    same_trees(a, b)
    filler = fill(top, keep=MIB)
    write(a.folder, "large", random_bytes(1, 12 * MIB))
    for i in range(300):
        write(a.folder, f"small/{i}", random_bytes(i, 9000))
    write(a.folder, "replaced", random_bytes(2, 6 * MIB))
    in_error(b, "room|space|full")
    assert read(b.folder, "before") == b"before" and read(b.folder, "replaced") == b"old"
    os.unlink(filler)
    well_again(b)
    same_trees(a, b)


@test
def what_is_replaced_is_kept_on_a_full_disk():
    top = small_disk(48 * MIB)
    a, b = pair(folder_on=top)
    contents = {f"d/{i}": b"old %d" % i for i in range(200)}
    for path, data in contents.items():
        write(a.folder, path, data)
    same_trees(a, b)
    filler = fill(top)
    for path in contents:
        write(a.folder, path, random_bytes(path, 5000))
    in_error(b, "room|space|full")
    os.unlink(filler)
    well_again(b)
    same_trees(a, b)
    index = sqlite3.connect(f"file:{b.home}/index.db?mode=ro", uri=True, timeout=10)      # packed meanwhile or not
    there = {row[0] for row in index.execute("SELECT root FROM kept")}
    index.close()
    missing = [data for data in contents.values() if hashlib.blake2b(data, digest_size=32).digest() not in there]
    assert not missing, f"replaced and not kept: {missing[:5]}"
    assert b.cli("check", json=True)["ok"]


@test
def the_disk_of_the_index_is_full():
    top = small_disk(32 * MIB)
    a, b = pair(home_on=top)
    make_tree(a.folder, seed=51, files=100)
    same_trees(a, b)
    same_trees(a, b)
    filler = fill(top)
    for i in range(3000):
        write(a.folder, f"from-a/{i % 30}/{i}", b"a %d" % i)
        write(b.folder, f"from-b/{i % 30}/{i}", b"b %d" % i)
    in_error(b, "full|space")
    assert a.status()["state"] != "error"
    os.unlink(filler)
    well_again(b)
    tree = same_trees(a, b, timeout=60)
    assert len([p for p in tree if re.match(rb"from-[ab]/\d+/", p)]) == 6000
    assert b.status()["conflicts"] == 0 and a.status()["conflicts"] == 0


@test
def a_full_disk_of_the_index_survives_a_restart():
    top = small_disk(32 * MIB)
    a, b = pair(home_on=top)
    same_trees(a, b)
    filler = fill(top)
    for i in range(3000):
        write(a.folder, f"from-a/{i}", b"a %d" % i)
    in_error(b, "full|space")
    b.kill9()
    try:
        b.up(peers=[a], deadline=10)                 # either it cannot, and says so, or it can and waits
    except Failed as refused:
        assert re.search("full|space|disk", str(refused), re.I), refused
    os.unlink(filler)
    if not b.running():
        b.up(peers=[a])
    well_again(b)
    same_trees(a, b, timeout=60)


@test
def there_are_no_inodes_left():
    top = small_disk(32 * MIB, "-N", "256")
    a, b = pair(folder_on=top)
    write(a.folder, "before", b"before")
    same_trees(a, b)
    os.mkdir(os.path.join(top, "fillers"))
    for i in range(130):
        open(os.path.join(top, "fillers", str(i)), "w").close()
    for i in range(150):
        write(a.folder, f"d{i % 5}/{i}", b"%d" % i)
    in_error(b, "room|space|full")
    with open(path_of(b.folder, "before"), "wb") as f:
        f.write(b"still written to, in its place")
    shutil.rmtree(os.path.join(top, "fillers"))
    well_again(b)
    assert same_trees(a, b)[b"before"][0] == "file"
    assert is_file_with(a.folder, "before", b"still written to, in its place")


def limit_files(n, count):
    resource.prlimit(n.process.pid, resource.RLIMIT_NOFILE, (count, 4096))


def open_files(n):
    """How many it has open, at a moment in which it has nothing open for a moment only."""
    def no_hole():
        used = {int(name) for name in os.listdir(f"/proc/{n.process.pid}/fd")}
        return len(used) == max(used) + 1 and len(used)
    return wait_until(no_hole, 20, "a moment of rest")


@test
def there_are_no_descriptors_left():
    a, b = group("a", "b")
    write(a.folder, "before", b"before")
    same_trees(a, b)
    b.settle()
    limit_files(b, open_files(b))                    # whatever is open stays; nothing else can be
    for i in range(200):
        write(a.folder, f"d{i % 7}/{i}", random_bytes(i, 20_000))
    write(a.folder, "large", random_bytes(9, 8 * MIB))
    write(b.folder, "from-b", b"edited meanwhile")
    os.unlink(path_of(a.folder, "before"))
    wait_until(lambda: re.search("too many open files", log_of(b), re.I), 60, "a word about it in the log")
    limit_files(b, 1024)
    well_again(b)
    same_trees(a, b)
    assert is_file_with(a.folder, "from-b", b"edited meanwhile")
    assert b.status()["conflicts"] == 0
    assert len(tree_digest(b.folder)) == 200 + 7 + 2


def log_of(n):
    with open(n.log, encoding="utf-8", errors="replace") as f:
        return f.read()


tap.main()
