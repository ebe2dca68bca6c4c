"""Coming and going: whoever was away gets what was missed, from whomever has it, and nothing twice."""
import os
import shutil

from lanyard import (exists, group, is_file_with, make_tree, network, node, path_of, random_bytes, received, same_trees, tap, test,
                     tree_digest, wait_until, write)

MIB = 1 << 20
IN_FLIGHT = 48 * MIB        # what may be under way to one node when it is killed: the credit of a peer, sockets, headers


@test
def a_device_that_was_off_catches_up():
    a, b = group("a", "b", fill=lambda folder: make_tree(folder, seed=4, files=80))
    same_trees(a, b)
    b.down()
    for round_ in range(3):
        make_tree(a.folder, seed=5 + round_, files=40)
        a.cli("scan")
    os.rename(path_of(a.folder, "dir0"), path_of(a.folder, "renamed"))
    os.unlink(path_of(a.folder, next(iter_files(a.folder))))
    os.mkdir(path_of(a.folder, "new-and-empty"))
    a.cli("scan")
    b.up(peers=[a])
    same_trees(a, b)
    b.wait(30, 1)


def iter_files(folder):
    return (path for path, entry in sorted(tree_digest(folder, content=False).items()) if entry[0] == "file")


@test
def what_was_done_while_the_own_node_was_down_goes_out():
    a, b = group("a", "b", fill=lambda folder: make_tree(folder, seed=8, files=30))
    same_trees(a, b)
    b.down()
    first, second, third = list(iter_files(b.folder))[:3]
    write(b.folder, first, b"edited while down")
    os.unlink(path_of(b.folder, second))
    os.rename(path_of(b.folder, third), path_of(b.folder, "renamed"))
    shutil.rmtree(path_of(b.folder, "dir7"), ignore_errors=True)
    write(b.folder, "new", b"new")
    mine = tree_digest(b.folder)
    b.up(peers=[a])
    assert same_trees(a, b) == mine
    assert a.status()["conflicts"] == 0


@test
def a_late_joiner_gets_everything_from_a_third_device():
    a, b = group("a", "b", fill=lambda folder: make_tree(folder, seed=9, files=60))
    same_trees(a, b)
    write(a.folder, "edited", b"first")
    same_trees(a, b)
    write(a.folder, "edited", b"second")
    same_trees(a, b)
    c = node("c")
    c.join(a.invite(), at=a.address)
    a.settle()
    b.wait(30, 1)
    wait_until(lambda: "c" in {d["name"] for d in b.cli("devices", json=True)}, 20, "b knows of c")
    a.down()                                     # the author of everything is away from now on
    c.up(peers=[b])
    digest = same_trees(b, c)
    assert len(digest) > 60
    assert c.cli("log", "edited", json=True)[0]["device"] == "a"


@test
def a_restart_without_changes_exchanges_and_records_nothing():
    net = network()
    a, b = group("a", "b", net=net, fill=lambda folder: make_tree(folder, seed=10, files=300, biggest=200_000))
    same_trees(a, b)
    for n in (a, b):
        n.wait(30, 1)
    versions = len(a.cli("log", json=True))
    before = received(net.host("b"))
    b.down().up(peers=[a])
    b.wait(30, 1)
    same_trees(a, b)
    came = received(net.host("b")) - before
    assert came < 500_000, f"{came} bytes came after a restart without changes"
    assert len(a.cli("log", json=True)) == versions, "a restart made new versions"


def broken_transfer(end):
    """A file of 256 MiB is on its way to b when end(b) ends it; b restarts. Returns the bytes that b received in all."""
    net = network()
    a, b = group("a", "b", net=net)
    size = 256 * MIB
    start = received(net.host("b"))
    write(a.folder, "big", random_bytes(11, size))
    wait_until(lambda: received(net.host("b")) - start > size // 3, 60, "a third of the file has come to b")
    end(b)
    first = received(net.host("b")) - start
    assert not exists(b.folder, "big"), "too fast for this test: the file is there already"
    b.up(peers=[a])
    same_trees(a, b, timeout=60)
    return size, first, received(net.host("b")) - start


@test
def a_transfer_broken_by_a_crash_resumes():
    size, first, total = broken_transfer(lambda b: b.kill9())
    assert total < size * 1.03 + IN_FLIGHT, f"{first >> 20} MiB before the crash, {total >> 20} MiB in all for {size >> 20} MiB"


@test
def a_transfer_broken_by_a_clean_stop_resumes():
    size, first, total = broken_transfer(lambda b: b.down())
    assert total < size * 1.03 + IN_FLIGHT, f"{first >> 20} MiB before the stop, {total >> 20} MiB in all for {size >> 20} MiB"


@test
def a_transfer_goes_on_from_another_device_when_its_source_goes():
    net = network()
    a, b = group("a", "b", net=net)
    size = 128 * MIB
    write(a.folder, "big", random_bytes(12, size))
    same_trees(a, b, timeout=60)
    c = node("c", net.host("c"))
    c.join(a.invite(), at=a.address)
    wait_until(lambda: "c" in {d["name"] for d in b.cli("devices", json=True)}, 20, "b knows of c")
    c.up(mdns=False, peers=[a, b])
    wait_until(lambda: received(net.host("c")) > size // 4, 60, "a quarter of the file has come to c")
    a.kill9()
    same_trees(b, c, timeout=60)


@test
def wait_says_when_time_is_over():
    a, b = group("a", "b")
    assert a.cli("wait", "--timeout", 10, "--peers", 1).code == 0
    b.down()
    assert a.cli("wait", "--timeout", 1, "--peers", 1, check=False).code == 3
    assert a.cli("wait", "--timeout", 10, "--peers", 0).code == 0
    write(a.folder, "f", b"x")
    a.cli("scan")
    peer = [p for p in a.status()["peers"] if p["name"] == "b"][0]
    assert not peer["online"] and peer["last_seen"], peer
    b.up(peers=[a])
    wait_until(lambda: is_file_with(b.folder, "f", b"x"), 20, "the file on b")
    a.wait(30, 1)


tap.main()
