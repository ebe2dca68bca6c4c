"""Contents are kept before users overwrite them, on the device that wrote them: also where several overwrite the same one at a time."""
import os
import subprocess

from lanyard import fixture, group, node, path_of, random_bytes, tap, test, wait_until, write

KIB, MIB = 1 << 10, 1 << 20


def overwrite(n, path, data):
    """In place: nothing of what was there is left, not even under another inode."""
    with open(path_of(n.folder, path), "r+b") as f:
        f.truncate(0)
        f.write(data)
    n.settle(peers=0)


def create(n, path, data):
    write(n.folder, path, data)
    n.settle(peers=0)


def pack_bytes(n):
    return sum(e.stat().st_size for e in os.scandir(os.path.join(n.folder, ".lanyard", "packs")))


def gc(n):
    return n.cli("gc", json=True)


def versions(n, path):
    """Size and whereabouts of each, the latest first."""
    return [(v["size"], v["available"]) for v in n.cli("log", path, json=True)]


def version_of(n, path, size):
    return next(v["version"] for v in n.cli("log", path, json=True) if v["size"] == size)


def content(n, path, size):
    return n.cli("cat", path, "--version", version_of(n, path, size)).raw


def without_index(n):
    n.down()
    for name in os.listdir(n.home):
        if name.startswith("index.db"):
            os.unlink(os.path.join(n.home, name))
    n.up()


def again(n, *options):
    n.down()
    for i in range(0, len(options), 2):
        n.cli("config", "set", options[i], options[i + 1])
    n.up()


@fixture
def lonely():
    return node("lonely").init().up()


@fixture
def pair():
    return group("a", "b")


@test
def three_versions_written_in_place_are_all_here():
    n = lonely()
    data = [random_bytes(1, 40 * KIB), random_bytes(2, 41 * KIB), random_bytes(3, 42 * KIB)]
    create(n, "text", data[0])
    wait_until(lambda: pack_bytes(n) > len(data[0]), 20, "the first version is packed by itself")
    overwrite(n, "text", data[1])
    gc(n)
    overwrite(n, "text", data[2])
    assert versions(n, "text") == [(len(d), "here") for d in reversed(data)], versions(n, "text")
    for d in data:
        assert content(n, "text", len(d)) == d, len(d)
    figures = gc(n)
    assert (figures["packed"], figures["current"]) == (3, 1), figures
    assert n.cli("check", json=True)["ok"]


@test
def a_killed_node_keeps_them_all_the_same():
    n = lonely()
    old = random_bytes(10, 16 * MIB)
    create(n, "large", old)
    for _ in range(2):
        before = pack_bytes(n)
        process = n.popen("lanyard", "gc", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: process.poll() is not None or pack_bytes(n) > before, 20, "packing has begun")
        n.kill9()
        process.wait()
        n.up()
    gc(n)
    overwrite(n, "large", b"new" * KIB)
    assert content(n, "large", len(old)) == old
    assert n.cli("check", json=True)["ok"]


@test
def a_deleted_file_comes_back():
    n = lonely()
    data = random_bytes(20, 30 * KIB)
    create(n, "doomed", data)
    gc(n)
    os.unlink(path_of(n.folder, "doomed"))
    n.settle(peers=0)
    gc(n)
    n.cli("restore", "doomed")
    with open(path_of(n.folder, "doomed"), "rb") as f:
        assert f.read() == data


@test
def what_was_packed_is_listed_though_the_index_is_lost():
    n = lonely()
    old = {"packed/list": random_bytes(25, 300 * KIB), "packed/block": random_bytes(26, 20 * KIB), "packed/inline": random_bytes(27, 500)}
    for path, data in old.items():
        write(n.folder, path, data, mode=0o640)
    n.settle(peers=0)
    gc(n)
    for path in old:
        overwrite(n, path, b"new" * KIB)
    without_index(n)
    n.wait(peers=0)
    gc(n)
    for path, data in old.items():
        wait_until(lambda path=path, data=data: (len(data), "here") in versions(n, path), 20, f"the old version of {path} is listed")
        assert content(n, path, len(data)) == data, path
        assert versions(n, path)[0] == (3 * KIB, "here"), versions(n, path)
    n.cli("restore", "packed/block", "--version", version_of(n, "packed/block", 20 * KIB))
    with open(path_of(n.folder, "packed/block"), "rb") as f:
        assert f.read() == old["packed/block"] and os.fstat(f.fileno()).st_mode & 0o777 == 0o640


@test
def it_can_be_switched_off_and_takes_no_more_than_its_share():
    n = lonely()
    create(n, "off", random_bytes(30, 50 * KIB))
    assert gc(n)["current"] > 0
    for key, value, back in ("history_alone", "false", "true"), ("history_share", "0", "10"), ("history_days", "0", "30"):
        again(n, key, value)
        assert gc(n)["current"] == 0, key
        again(n, key, back)
        assert gc(n)["current"] > 0, key
    again(n, "history_alone", "false")
    overwrite(n, "off", random_bytes(31, 51 * KIB))
    overwrite(n, "off", random_bytes(32, 52 * KIB))
    gc(n)
    assert versions(n, "off")[0:2] == [(52 * KIB, "here"), (51 * KIB, "gone")], versions(n, "off")


@test
def what_another_device_has_is_packed_by_its_author_only():
    a, b = pair()
    write(a.folder, "shared", random_bytes(40, 60 * KIB))
    a.settle()
    b.settle()
    figures = gc(a)
    assert (figures["current"], figures["packed"]) == (1, 1), figures
    figures = gc(b)
    assert (figures["current"], figures["packs"]) == (0, 0), figures


def overwritten_by_both(a, b, path, data):
    """In place, and neither has heard of the other."""
    b.down()
    overwrite(a, path, data[0])
    with open(path_of(b.folder, path), "r+b") as f:
        f.truncate(0)
        f.write(data[1])
    b.up(peers=[a])
    a.settle()
    b.settle()


@test
def what_both_overwrite_before_they_hear_of_each_other_is_not_lost():
    a, b = pair()
    data = [random_bytes(90 + i, (40 + i) * KIB) for i in range(6)]
    create(a, "text", data[0])
    b.settle()
    assert gc(a)["current"] > 0
    overwritten_by_both(a, b, "text", data[1:3])
    write(b.folder, "text", data[3])
    b.settle()
    a.settle()
    assert gc(b)["current"] > 0
    overwritten_by_both(a, b, "text", data[4:6])
    for n in a, b:
        for old in data[:4]:
            assert content(n, "text", len(old)) == old, (n.name, len(old))


@test
def what_is_large_and_was_never_edited_is_packed_only_while_nobody_else_has_it():
    a, b = pair()
    gc(a)
    b.down()
    data = random_bytes(50, 17 * MIB)
    create(a, "later", data)
    before = gc(a)
    assert before["pack_bytes"] > len(data), before
    b.up(peers=[a])
    a.settle()
    figures = gc(a)
    assert figures["current"] == before["current"] - 1 and figures["pack_bytes"] < before["pack_bytes"] - len(data), figures
    assert a.cli("check", json=True)["ok"]


def packed_by_itself(n):
    data = [random_bytes(100 + i, (30 + i) * KIB) for i in range(2)]
    write(n.folder, "text", data[0])
    wait_until(lambda: pack_bytes(n) > len(data[0]), 20, "the first version to be packed by itself")
    with open(path_of(n.folder, "text"), "r+b") as f:
        f.write(data[1])
    wait_until(lambda: len(versions(n, "text")) == 2, 20, "the second version")
    assert content(n, "text", len(data[0])) == data[0]


@test
def who_waits_for_what_nobody_online_has_goes_on_keeping():
    a, b, c = group("a", "b", "c")
    write(c.folder, ".lanyard/ignore", b"big*\n")
    c.cli("scan")
    a.down()
    create(b, "big", random_bytes(110, 50 * KIB))
    b.settle()
    b.down()
    a.up(peers=[c])
    wait_until(lambda: a.status()["pending"]["files"] == 1, 20, "a to hear of what it cannot have")
    packed_by_itself(a)
    assert a.status()["pending"]["files"] == 1


@test
def who_is_paused_goes_on_keeping():
    n = node("paused").init().up()
    n.cli("pause")
    packed_by_itself(n)


@test
def who_leaves_it_out_by_rules_of_its_own_does_not_have_it():
    a, b = pair()
    write(b.folder, ".lanyard/ignore", b"big*\n")
    b.cli("scan")
    data = [random_bytes(60 + i, (50 + i) * KIB) for i in range(3)]
    write(a.folder, "small", b"x")
    create(a, "big", data[0])
    a.settle()
    wait_until(lambda: gc(a) and pack_bytes(a) > len(data[0]), 20, "what b does not want to be packed")
    for before, after in zip(data, data[1:]):
        overwrite(a, "big", after)
        assert content(a, "big", len(before)) == before
        gc(a)
    assert not os.path.exists(path_of(b.folder, "big")) and os.path.exists(path_of(b.folder, "small"))


@test
def a_reader_who_has_overwritten_its_copy_does_not_have_it():
    a, b = group("a", "b")
    a.cli("device", "role", "b", "reader")
    before = random_bytes(80, 17 * MIB)
    create(a, "f", before)
    a.settle()
    b.settle()
    assert gc(a)["current"] == 0
    overwrite(b, "f", random_bytes(81, 51 * KIB))
    wait_until(lambda: gc(a)["current"] == 1, 20, "what the reader has no more to be packed")
    overwrite(a, "f", random_bytes(82, 52 * KIB))
    assert content(a, "f", len(before)) == before


@test
def what_a_revoked_device_has_left_is_only_here():
    a, b = group("a", "b")
    before, after = random_bytes(70, 50 * KIB), random_bytes(71, 51 * KIB)
    create(b, "left", before)
    b.settle()
    a.settle()
    assert gc(a)["current"] == 0
    a.cli("device", "revoke", "b")
    assert gc(a)["current"] == 1
    overwrite(a, "left", after)
    assert versions(a, "left") == [(len(after), "here"), (len(before), "here")] and content(a, "left", len(before)) == before


tap.main()
