"""A folder that is missing, read-only or full: state error with the reason, nothing is lost, and it goes on by itself."""
import os
import subprocess

from lanyard import (group, in_error, is_file_with, make_tree, mount_tmpfs, node, path_of, random_bytes, same_trees, tap, test, tree_digest,
                     wait_until, well_again, write)


@test
def a_folder_that_goes_missing_is_an_error_and_no_deletion():
    a, b = group("a", "b", fill=lambda folder: make_tree(folder, seed=31, files=150))
    before = same_trees(a, b)
    os.rename(b.folder, b.folder + ".away")
    in_error(b, "folder|missing|marker")
    write(a.folder, "meanwhile", b"on a")
    os.rename(b.folder + ".away", b.folder)
    well_again(b)
    after = same_trees(a, b)
    assert before.items() <= after.items() and b"meanwhile" in after


@test
def an_empty_directory_in_its_place_is_no_deletion_either():
    a, b = group("a", "b", fill=lambda folder: make_tree(folder, seed=32, files=150))
    before = same_trees(a, b)
    b.down()
    os.rename(b.folder, b.folder + ".away")
    os.mkdir(b.folder)                           # as when a disk is not mounted
    b.up(peers=[a])
    in_error(b, "folder|missing|marker|mount")
    assert tree_digest(a.folder) == before and not os.listdir(b.folder)
    os.rmdir(b.folder)
    os.rename(b.folder + ".away", b.folder)
    well_again(b)
    assert same_trees(a, b) == before


def mounted_pair(size):
    """Two connected nodes, the folder of b on a tmpfs of this size."""
    a, b = node("a"), node("b")
    os.mkdir(b.folder)
    mount_tmpfs(b.folder, size)
    a.init().up()
    b.join(a.invite(), at=a.address)
    b.up(peers=[a])
    a.wait(30, 1)
    return a, b


def remount(n, options):
    argv = ["mount", "-o", "remount," + options, n.folder]
    wait_until(lambda: subprocess.run(argv, capture_output=True).returncode == 0, 20, f"remount with {options}")


@test
def a_read_only_folder_is_an_error_until_it_is_writable():
    a, b = mounted_pair("64m")
    write(a.folder, "before", b"x")
    same_trees(a, b)
    remount(b, "ro")
    write(a.folder, "during", b"y")
    in_error(b, "read-only|read only")
    remount(b, "rw")
    well_again(b)
    same_trees(a, b)


@test
def a_full_folder_is_an_error_until_there_is_room():
    a, b = mounted_pair("16m")
    write(a.folder, "too-big", random_bytes(3, 24 << 20))
    in_error(b, "room|space|full")
    assert a.status()["state"] != "error"
    remount(b, "size=64m")
    well_again(b)
    same_trees(a, b)


@test
def one_percent_of_the_disk_is_left_free():
    """16 MiB, of which 164 KiB are to stay: a file that would fit waits when it would leave less."""
    a, b = mounted_pair("16m")
    st = os.statvfs(b.folder)
    left = st.f_bavail * st.f_frsize
    write(a.folder, "most", random_bytes(4, left - (250 << 10)))
    same_trees(a, b)
    write(a.folder, "reserve", random_bytes(5, 150 << 10))
    in_error(b, "room")
    st = os.statvfs(b.folder)
    assert st.f_bavail > st.f_blocks // 100, st
    remount(b, "size=64m")
    well_again(b)
    same_trees(a, b)


@test
def files_that_fit_arrive_though_another_does_not():
    a, b = mounted_pair("16m")
    write(a.folder, "too-big", random_bytes(4, 24 << 20))
    in_error(b, "room|space|full")
    write(b.folder, "from-b", b"goes out")
    wait_until(lambda: is_file_with(a.folder, "from-b", b"goes out"), 30, "b's file on a while b is full")
    os.unlink(path_of(a.folder, "too-big"))      # the end of the trouble from the other side
    well_again(b)
    same_trees(a, b)


tap.main()
