"""What must not travel does not: renames, moves and copies send no content, an inserted byte a block or two. Measured at the
network interfaces of namespaces."""
import os
import random
import shutil

from lanyard import fixture, group, network, path_of, random_bytes, received, same_trees, tap, test, write

MIB = 1 << 20
BIG = random_bytes(20, 64 * MIB)


@fixture
def pair():
    """The hosts' network and two synced devices with a file of 64 MiB and a directory of 500 files, 10 MB."""
    net = network()

    def fill(folder):
        write(folder, "big", BIG)
        rand = random.Random(21)
        for i in range(500):
            write(folder, f"dir/sub{i % 7}/file{i}", rand.randbytes(20_000))
    a, b = group("a", "b", net=net, fill=fill)
    same_trees(a, b, timeout=60)
    return net, a, b


def travels(change, by, limit):
    """Does change(folder) on the device `by` ("a" or "b"); returns when the trees are equal; the other may receive `limit` bytes."""
    net, a, b = pair()
    author, other = (a, b) if by == "a" else (b, a)
    for n in (a, b):
        n.settle()
    before = received(other.host)
    change(author.folder)
    same_trees(a, b, timeout=60)
    for n in (author, other):
        n.settle()
    came = received(other.host) - before
    assert came < limit, f"{came:,} bytes came, at most {limit:,} were expected"
    return came


@test
def the_meter_counts():
    came = travels(lambda folder: write(folder, "fresh", random_bytes(22, 3 * MIB)), "a", 5 * MIB)
    assert came > 3 * MIB, came


@test
def a_renamed_file_of_64_mib_sends_no_content():
    travels(lambda folder: os.rename(path_of(folder, "big"), path_of(folder, "sub-big")), "a", MIB)
    travels(lambda folder: os.rename(path_of(folder, "sub-big"), path_of(folder, "big")), "b", MIB)


@test
def a_moved_directory_of_500_files_sends_no_content():
    travels(lambda folder: os.rename(path_of(folder, "dir"), path_of(folder, "moved")), "a", MIB)
    travels(lambda folder: os.rename(path_of(folder, "moved"), path_of(folder, "dir")), "b", MIB)


@test
def a_copied_file_sends_no_content():
    travels(lambda folder: shutil.copyfile(path_of(folder, "big"), path_of(folder, "copy")), "a", MIB)


@test
def a_changed_mode_or_time_sends_no_content():
    def change(folder):
        os.chmod(path_of(folder, "big"), 0o600)
        os.utime(path_of(folder, "big"), ns=(10**18, 10**18))
    travels(change, "b", MIB)


@test
def an_inserted_byte_sends_a_block_or_two():
    middle = 32 * MIB + 12_345
    travels(lambda folder: write(folder, "big", BIG[:middle] + b"!" + BIG[middle:]), "a", 2 * MIB)


@test
def holes_are_neither_sent_nor_written():
    _, _, b = pair()

    def sparse(folder):
        with open(path_of(folder, "sparse.tmp"), "wb") as f:
            f.truncate(96 * MIB)
            f.seek(40 * MIB)
            f.write(random_bytes(23, MIB))
        os.rename(path_of(folder, "sparse.tmp"), path_of(folder, "sparse"))
    travels(sparse, "a", 8 * MIB)
    taken = os.stat(path_of(b.folder, "sparse")).st_blocks * 512
    assert taken < 8 * MIB, taken


@test
def a_deleted_and_restored_file_sends_no_content():
    _, a, _ = pair()
    travels(lambda folder: os.unlink(path_of(folder, "big")), "a", MIB)
    travels(lambda folder: a.cli("restore", "big"), "a", MIB)


tap.main()
