"""The history is packed: what it costs, that every version comes back, what expires and what does not, and that an index that is lost
loses none of it."""
import os
import random
import subprocess

from lanyard import fixture, group, is_file_with, random_bytes, read, same_trees, tap, test, wait_until, write

MIB = 1 << 20


def own(n, *parts):
    return os.path.join(n.folder, ".lanyard", *parts)


def kept_files(n):
    """Not .paths, which says whose they are, or were."""
    return [name for name in os.listdir(own(n, "kept")) if name != ".paths"]


def disk(*directories):
    """Bytes of the files in them."""
    return sum(e.stat().st_size for d in directories for e in os.scandir(d))


def history_bytes(n):
    return disk(own(n, "kept"), own(n, "packs"))


def gc(n):
    return n.cli("gc", json=True, timeout=120)


def version_of(n, path, size):
    return next(v["version"] for v in n.cli("log", path, json=True) if v["size"] == size)


def version_at(n, path, index):
    return n.cli("log", path, json=True)[index]["version"]


def again(n, *options, peer=None):
    """Stopped, and started with other settings."""
    n.down()
    for i in range(0, len(options), 2):
        n.cli("config", "set", options[i], options[i + 1])
    n.up(peers=[peer] if peer else ())


@fixture
def pair():
    return group("a", "b")


@fixture
def image():
    """Eleven versions of an image of 64 MiB that differ in 1 MiB each: the ten older ones are history on b, packed. Each is a little longer
    than the one before, so that its size names it."""
    a, b = pair()
    data, versions = bytearray(random_bytes(1, 64 * MIB)), []
    rand = random.Random(2)
    for i in range(11):
        at = rand.randrange(63 * MIB)
        data[at:at + MIB] = random_bytes(100 + i, MIB)
        data += b"!"
        versions.append(bytes(data))
        write(a.folder, "image", versions[-1])
        a.settle(timeout=60)
    figures = gc(b)
    assert figures["packed"] == 10 and figures["kept"] == 0, figures          # some perhaps when b was idle
    return versions


@test
def ten_versions_of_an_image_cost_little_more_than_one():
    _, b = pair()
    image()
    # each change touches the blocks at its ends too: of 512 KiB on average, at most 2 MiB
    assert history_bytes(b) < (64 + 10 * (1 + 3)) * MIB, history_bytes(b)
    assert not kept_files(b), kept_files(b)


@test
def every_packed_version_comes_back():
    a, b = pair()
    versions = image()
    for v in versions[0], versions[5], versions[9]:
        assert b.cli("cat", "image", "--version", version_of(b, "image", len(v))).raw == v
    # from b's packs to a, over the wire
    assert a.cli("cat", "image", "--version", version_of(a, "image", len(versions[3]))).raw == versions[3]
    b.cli("restore", "image", "--version", version_of(b, "image", len(versions[7])), "--to", "restored")
    a.settle()
    same_trees(a, b)
    assert read(a.folder, "restored") == versions[7]


@test
def small_files_are_packed_too():
    a, b = pair()
    contents = {f"small/{i}": random.Random(i).randbytes(i * i * 40) for i in range(30)}
    contents["small/text"] = b"a line of text\n" * 50_000
    for path, data in contents.items():
        write(a.folder, path, data)
    a.settle()
    for path in contents:
        os.unlink(os.path.join(a.folder, path))
    a.settle()
    gc(b)
    assert not kept_files(b), kept_files(b)
    for path, data in contents.items():
        version = next(v["version"] for v in b.cli("log", path, json=True) if v["kind"] == "file")
        assert b.cli("cat", path, "--version", version).raw == data, path


@test
def an_index_that_is_lost_loses_no_packed_version():
    a, b = pair()
    versions = image()
    b.down()
    for name in os.listdir(b.home):
        if name.startswith("index.db"):
            os.unlink(os.path.join(b.home, name))
    b.up(peers=[a])
    b.settle()
    gc(b)
    a.down()
    try:
        assert b.cli("cat", "image", "--version", version_of(b, "image", len(versions[4]))).raw == versions[4]
    finally:
        a.up(peers=[b])
    a.wait()


@test
def a_crash_in_the_middle_of_packing_loses_nothing():
    a, b = pair()
    old = random_bytes(50, 24 * MIB)
    write(a.folder, "crash", old)
    a.settle()
    write(a.folder, "crash", b"new")
    a.settle()
    for _ in range(3):
        process = b.popen("lanyard", "gc")
        wait_until(lambda: process.poll() is not None or history_bytes(b) > 0, 10, "packing has begun")
        b.kill9()
        process.wait()
        b.up(peers=[a])
    b.settle()
    gc(b)
    assert b.cli("cat", "crash", "--version", version_of(b, "crash", len(old))).raw == old
    assert b.cli("cat", "image", "--version", version_of(b, "image", len(image()[0]))).raw == image()[0]


@test
def what_is_too_old_goes_and_a_conflict_stays():
    a, b = pair()
    image()
    a.cli("pause")
    write(a.folder, "both", b"a" * 5000)
    write(b.folder, "both", b"b" * 6000)
    a.cli("scan"), b.cli("scan")
    a.cli("resume")
    a.settle()
    loser = b.cli("conflicts", json=True)[0]["losers"][0]
    before = history_bytes(b)
    again(b, "history_days", "0", peer=a)
    b.settle()
    figures = gc(b)
    assert figures["expired"] >= 10 and history_bytes(b) < before / 10, (figures, before, history_bytes(b))
    assert b.cli("cat", "both", "--version", loser["version"]).raw in (b"a" * 5000, b"b" * 6000)
    again(b, "history_days", "30", peer=a)


@test
def a_crash_while_packs_are_written_anew_loses_nothing():
    a, b = pair()
    parts = [random_bytes(70 + i, 8 * MIB) for i in range(3)]
    for i, data in enumerate(parts):
        write(a.folder, f"part{i}", data)
    a.settle()
    b.cli("snapshot", "create", "parts")        # pins what is in it, and only that is left over of the packs
    for i in range(3):
        write(a.folder, f"part{i}", random_bytes(80 + i, 12 * MIB))
        a.settle()
    for i in range(3):
        write(a.folder, f"part{i}", b"short")
    a.settle()
    gc(b)
    again(b, "history_days", "0", peer=a)
    b.settle()
    for _ in range(3):
        before = history_bytes(b)
        process = b.popen("lanyard", "gc", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: process.poll() is not None or history_bytes(b) != before, 20, "packs are written anew")
        b.kill9()
        process.wait()
        b.up(peers=[a])
    b.settle()
    gc(b)
    assert history_bytes(b) < 30 * MIB, history_bytes(b)
    a.down()
    try:
        for i, data in enumerate(parts):
            assert b.cli("cat", f"part{i}", "--version", version_at(b, f"part{i}", -1)).raw == data, i
    finally:
        a.up(peers=[b])
    b.cli("snapshot", "remove", "parts")
    again(b, "history_days", "30", peer=a)
    a.settle()


@test
def the_oldest_go_first_when_they_take_too_much_of_the_disk():
    a, b = pair()
    for i in range(3):
        write(a.folder, "share", random_bytes(60 + i, MIB + i))
        a.settle()
    gc(b)
    again(b, "history_share", "0", peer=a)
    b.settle()
    assert gc(b)["expired"] >= 2
    assert [v["available"] == "here" for v in b.cli("log", "share", json=True)] == [True, False, False]
    assert history_bytes(b) < MIB and is_file_with(b.folder, "share", read(a.folder, "share"))


tap.main()
