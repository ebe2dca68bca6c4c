"""SIGKILL at random seeded moments: after every restart the node goes on, in the end the trees are equal and nothing is lost."""
import os
import random
import sqlite3
import time

from lanyard import exists, group, is_file_with, make_tree, path_of, read, same_trees, tap, test, tree_digest, wait_until, write


def killed_during(rand, victim, peers, deadline=8):
    """Kills the node a random moment from now, or when its folder has grown by a random number of files; then it starts again."""
    over = time.monotonic() + rand.random() * deadline / 4
    target = len(tree_digest(victim.folder, content=False)) + rand.randrange(1, 120)

    def moment():
        try:
            return time.monotonic() > over or len(tree_digest(victim.folder, content=False)) >= target
        except FileNotFoundError:
            return False
    wait_until(moment, deadline, "the moment")
    victim.kill9()
    victim.up(peers=peers)


def expect(n, contents):
    for path, data in contents.items():
        if data is None:
            assert not exists(n.folder, path), f"{path} is back on {n.name}"
        else:
            assert is_file_with(n.folder, path, data), f"{path} on {n.name} is not what was written last"


def storm(seed, victim_of):
    """Rounds of edits on both nodes, each device in its own files, with a SIGKILL in each; returns when all has been checked."""
    rand = random.Random(seed)
    a, b = group("a", "b")
    contents = {}
    for round_ in range(5):
        for n in (a, b):
            for _ in range(60):
                path = f"{n.name}/{rand.randrange(12)}/{rand.randrange(20)}"
                if contents.get(path) is not None and rand.random() < 0.2:
                    os.unlink(path_of(n.folder, path))
                    contents[path] = None
                else:
                    contents[path] = rand.randbytes(rand.choice((0, 10, 1000, 300_000)))
                    write(n.folder, path, contents[path])
        victim = victim_of(a, b, round_)
        killed_during(rand, victim, [a if victim is b else b])
    for n in (a, b):
        n.wait(60, 1)
    same_trees(a, b, timeout=60)
    for n in (a, b):
        expect(n, contents)
        assert n.status()["conflicts"] == 0, n.cli("conflicts").out


@test
def the_receiver_is_killed():
    storm(40, lambda a, b, _: b)


@test
def the_author_is_killed():
    storm(41, lambda a, b, _: a)


@test
def both_are_killed_in_turn():
    storm(42, lambda a, b, round_: (a, b)[round_ % 2])


@test
def a_crash_in_the_first_scan_loses_nothing():
    rand = random.Random(43)
    a, b = group("a", "b")
    a.down()
    make_tree(a.folder, seed=44, files=600)
    mine = tree_digest(a.folder)
    for _ in range(4):
        over = time.monotonic() + rand.random() * 0.3
        a.up(peers=[b])
        wait_until(lambda over=over: time.monotonic() > over, 5, "the moment")
        a.kill9()
    a.up(peers=[b])
    assert same_trees(a, b, timeout=60) == mine


@test
def a_crash_in_a_large_transfer_leaves_no_half_file():
    rand = random.Random(45)
    a, b = group("a", "b")
    data = rand.randbytes(96 << 20)
    write(a.folder, "big", b"the old version")
    same_trees(a, b)
    write(a.folder, "big", data)
    for _ in range(4):
        over = time.monotonic() + rand.random() * 0.25
        wait_until(lambda over=over: time.monotonic() > over, 5, "the moment")
        b.kill9()
        assert read(b.folder, "big") in (b"the old version", data), "half a file under its name"
        b.up(peers=[a])
    same_trees(a, b, timeout=60)


@test
def no_leftovers_and_a_sound_index_after_all_that():
    rand = random.Random(46)
    a, b = group("a", "b")
    for _ in range(3):
        make_tree(a.folder, seed=rand.randrange(1000), files=100, biggest=400_000)
        killed_during(rand, b, [a])
    same_trees(a, b, timeout=60)
    for n in (a, b):
        n.settle()
    for n in (a, b):
        n.down()
        left = os.listdir(path_of(n.folder, ".lanyard/tmp")) if exists(n.folder, ".lanyard/tmp") else []
        assert not left, f"unfinished downloads left on {n.name}: {left[:5]}"
        for place, _, names in os.walk(n.home):
            for name in names:
                path = os.path.join(place, name)
                with open(path, "rb") as f:
                    if f.read(16) != b"SQLite format 3\0":
                        continue
                db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
                assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
                db.close()


tap.main()
