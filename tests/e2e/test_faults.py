"""Faults that belong to nothing else: connections that break after any number of bytes, sources that change while they send, addresses of
strangers, a great many files that are equal or lie in one directory, zones of time."""
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading

from lanyard import (closing, exists, group, is_file_with, network, node, path_of, random_bytes, read, received, same_trees, tap, test, wait_until,
                     write)

MIB = 1 << 20
MANY = int(os.environ.get("LANYARD_TEST_MANY", "10000"))     # a million takes many minutes


# ---- transfers ----

def cut_library():
    """Built here: it must not be linked with a sanitizer's runtime."""
    base = tempfile.mkdtemp(prefix="ly.cut.")
    closing(lambda: shutil.rmtree(base))
    library, source = os.path.join(base, "cut.so"), os.path.join(os.path.dirname(os.path.abspath(__file__)), "preload", "cut.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@test
def connections_break_after_any_number_of_bytes():
    library = cut_library()
    a, b = group("a", "b", fill=lambda folder: write(folder, "before", b"x"))
    same_trees(a, b)
    files = {f"f{i}": random_bytes(90 + i, size) for i, size in enumerate((12 * MIB, 2 * MIB, 300_000, 5000, 1))}
    b.down()
    env = b.env
    b.env = lambda: {**env(), "LD_PRELOAD": library, "LANYARD_TEST_CUTS": "30", "LANYARD_TEST_SEED": "7"}
    for path, data in files.items():
        write(a.folder, path, data)
    a.cli("scan")
    b.up(peers=[a])
    for path, data in files.items():
        wait_until(lambda: is_file_with(b.folder, path, data), 90, f"{path} on b")
    b.settle()
    wasted = b.status()["fetched"]["bytes"] - sum(len(d) for d in files.values() if len(d) > 1024)
    assert wasted <= 0, f"{wasted} bytes that were there and verified have been fetched again"
    assert same_trees(a, b).keys() == {b"before", *map(os.fsencode, files)}
    assert read(os.path.dirname(b.log), os.path.basename(b.log)).count(b"cut\n") > 3, "nothing was cut"


def half_way(change):
    """b has a third of a file of a when a changes its mind."""
    net = network()
    a, b = group("a", "b", net=net)
    size, start = 192 * MIB, received(net.host("b"))
    write(a.folder, "d/big", random_bytes(13, size))
    wait_until(lambda: received(net.host("b")) - start > size // 4, 60, "a quarter of the file has come to b")
    change(a.folder)
    a.cli("scan")
    assert not exists(b.folder, "d/big"), "too fast for this test: the file is there already"
    for n in (a, b):
        n.wait(60, 1)
    tree = same_trees(a, b, timeout=60)
    assert received(net.host("b")) - start < size * 0.95, "the rest was sent all the same"
    wait_until(lambda: not os.listdir(path_of(b.folder, ".lanyard/tmp")), 30, "nothing left over of the download")
    return a, b, tree


@test
def a_source_deletes_what_it_sends():
    _, _, tree = half_way(lambda folder: os.unlink(path_of(folder, "d/big")))
    assert set(tree) == {b"d"}


@test
def a_source_overwrites_what_it_sends():
    def overwrite(folder):
        with open(path_of(folder, "d/big"), "r+b") as f:
            f.truncate(3 * MIB)
            f.write(random_bytes(14, 5 * MIB))
    a, b, _ = half_way(overwrite)
    assert read(b.folder, "d/big")[:5 * MIB] == random_bytes(14, 5 * MIB)


# ---- strangers ----

def stranger(talks):
    """The address of one who takes every connection, and says what he likes, or nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    held = []

    def serve():
        rand = random.Random(1)
        while True:
            try:
                s, _ = server.accept()
                held.append(s)
                if talks:
                    s.sendall(rand.randbytes(rand.randrange(1, 5000)))
            except OSError as e:
                if server.fileno() < 0 or e.errno == 22:
                    return

    def end():
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for s in held:
            s.close()
    threading.Thread(target=serve, daemon=True).start()
    closing(end)
    return "127.0.0.1:%d" % server.getsockname()[1], held


@test
def addresses_of_strangers_harm_nobody():
    a, b = group("a", "b")
    b.down()
    (noisy, connected), (silent, waited) = stranger(True), stranger(False)
    b.up(peers=[noisy, silent, a])
    write(a.folder, "f", random_bytes(1, MIB))
    wait_until(lambda: is_file_with(b.folder, "f", random_bytes(1, MIB)), 30, "a's file on b")
    wait_until(lambda: connected and waited, 30, "calls at the strangers")
    write(b.folder, "g", b"x")
    b.settle()
    assert [p["name"] for p in b.status()["peers"]] == ["a"] and len(same_trees(a, b)) == 2


# ---- many files ----

@test
def many_identical_files_of_0_and_1_byte():
    def fill(folder):
        for i in range(100):
            os.makedirs(path_of(folder, f"d{i}"))
        for i in range(MANY):
            with open(path_of(folder, f"d{i % 100}/{i}"), "wb") as f:
                f.write(b"x" if i % 2 else b"")
    a, b = group("a", "b")
    fill(a.folder)
    tree = same_trees(a, b, timeout=60 + MANY / 400)
    assert len(tree) == MANY + 100 and b.status()["fetched"]["bytes"] == 0
    shutil.rmtree(path_of(b.folder, "d7"))
    wait_until(lambda: not exists(a.folder, "d7"), 60, "the removal on a")
    for n in (a, b):
        n.settle(timeout=60 + MANY / 400)
    assert a.status()["files"] == b.status()["files"] == MANY - MANY // 100


@test
def many_files_in_one_directory():
    a, b = group("a", "b")
    os.mkdir(path_of(a.folder, "d"))
    for i in range(MANY):
        with open(path_of(a.folder, f"d/{i:08}"), "wb") as f:
            f.write(b"%d" % i)
    assert len(same_trees(a, b, timeout=60 + MANY / 400)) == MANY + 1
    write(b.folder, "d/00000007", b"edited")
    wait_until(lambda: is_file_with(a.folder, "d/00000007", b"edited"), 60, "one edit among them")


# ---- zones ----

@test
def zones_and_summer_time_change_nothing():
    """The hour that there is twice, the one that there is not, a leap second; b thinks to be elsewhere."""
    hours = [1698541200, 1698544800, 1711846800, 1711850400, 1483228799, 1483228800]    # Berlin, and 2016-12-31T23:59:60
    a, b = node("a"), node("b")
    for n, zone in ((a, "Europe/Berlin"), (b, "America/New_York")):
        env = n.env
        n.env = lambda env=env, zone=zone: {**env(), "TZ": zone}
    a.init().up()
    b.join(a.invite(), at=a.address)
    b.up(peers=[a])
    for i, second in enumerate(hours):
        write(a.folder, f"f{i}", b"x" * (i + 1), mtime_ns=second * 10**9 + 999_999_999)
    tree = same_trees(a, b)
    assert [tree[b"f%d" % i][2] for i in range(len(hours))] == [s * 10**9 + 999_999_999 for s in hours]
    for n in (a, b):
        n.settle()
    logs = [[(v["version"], v["time"]) for v in n.cli("log", json=True)] for n in (a, b)]
    assert sorted(logs[0]) == sorted(logs[1]) and all(t.endswith("Z") for _, t in logs[0]), logs
    between = max(t for _, t in logs[0])
    write(b.folder, "f0", b"edited")
    b.settle()
    same_trees(a, b)
    b.cli("restore", "f0", "--at", between)
    wait_until(lambda: is_file_with(a.folder, "f0", b"x"), 30, "what it was, on a")
    assert len(a.cli("log", "f0", json=True)) == 3 and a.status()["conflicts"] == 0


tap.main()
