"""What is old and dead is forgotten, and nobody can tell: deletions stay deletions for whoever was away, went back to a backup or has
just come; and what a liar says to be dead comes back from those who know better."""
import os
import shutil
import sqlite3
import subprocess
import time

from lanyard import (BUILD, closing, exists, failed, group, is_file_with, node, path_of, read, same_trees, tap, test, wait_until, write)

LIAR = os.path.join(BUILD, "tests", "e2e", "liar")


def rows(n, what):
    """Of the index: how many there are."""
    index = sqlite3.connect(f"file:{n.home}/index.db?mode=ro", uri=True, timeout=10)
    try:
        return index.execute(f"SELECT count(*) FROM {what}").fetchone()[0]
    finally:
        index.close()


def dead(n): return rows(n, "entry WHERE live = 0")
def deletions(n): return rows(n, "entry WHERE kind = 4")


def gc(n):
    return n.cli("gc", json=True, timeout=120)


def forget_at_once(*nodes):
    """From the next start on what has ended is old."""
    for n in nodes:
        n.down()
        n.cli("config", "set", "history_days", "0")
    for i, n in enumerate(nodes):
        n.up(peers=nodes[:i])
    for n in nodes:
        n.wait(60, len(nodes) - 1)


def gone_everywhere(*nodes):
    """Two rounds: who knows a deletion may not have heard yet that the others do."""
    def none_left():
        for n in nodes:
            gc(n)
        return all(dead(n) == 0 and deletions(n) == 0 for n in nodes)
    wait_until(none_left, 40, lambda: f"nothing dead: {[(n.name, dead(n), deletions(n)) for n in nodes]}")


def history(a):
    """Five files with three versions each, of which two are deleted then."""
    for version in "one", "two", "three":
        for i in range(5):
            write(a.folder, f"d/{i}", f"{version} {i}".encode() * 500)
        a.settle()
    for i in range(2):
        os.unlink(path_of(a.folder, f"d/{i}"))
    a.settle()


def said(n, words):
    return words in read(os.path.dirname(n.log), os.path.basename(n.log)).decode("utf-8", "replace")


@test
def what_is_dead_and_old_goes():
    a, b = group("a", "b")
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    history(a)
    same_trees(a, b)
    entries = rows(a, "entry")
    assert dead(a) == 12 and deletions(a) == 2 and gc(a)["forgotten"] == 0, (dead(a), deletions(a))
    forget_at_once(a, b)
    gone_everywhere(a, b)
    assert rows(a, "entry") == rows(b, "entry") == entries - 14
    assert rows(a, "pruned") <= 12 and rows(a, "pruned WHERE own = 0") == 0, rows(a, "pruned")
    assert rows(a, "path WHERE name = CAST('d/0' AS BLOB)") == 0
    same_trees(a, b)
    done = a.cli("restore", "--at", before, check=False)
    failed(done, 1)
    assert "forgotten" in done.err and "from 20" in done.err, done.err
    write(b.folder, "d/0", b"again")                 # a name that was used before is as good as new
    wait_until(lambda: is_file_with(a.folder, "d/0", b"again"), 20, "d/0 of b on a")
    assert a.cli("conflicts", json=True) == []


@test
def a_device_that_was_away_gets_the_deletion():
    a, b, c = group("a", "b", "c")
    history(a)
    same_trees(a, b, c)
    c.settle(2)
    gc(a), gc(b)                                     # they write down what c knows
    c.down()
    os.unlink(path_of(a.folder, "d/2"))
    write(a.folder, "d/3", b"four")
    a.settle()
    forget_at_once(a, b)
    for n in a, b, a, b:
        gc(n)
    # What c knows to be dead has gone; not what only the others know to be: c may have made a snapshot of it.
    assert deletions(a) == deletions(b) == 1 and dead(a) == dead(b) == 2, (deletions(a), deletions(b), dead(a), dead(b))
    c.up(peers=[a, b])
    for n in a, b, c:
        n.wait(60, 2)
    assert not exists(c.folder, "d/2")
    same_trees(a, b, c)
    gone_everywhere(a, b)


@test
def a_backup_from_before_brings_nothing_back():
    a, b, c = group("a", "b", "c")
    history(a)
    same_trees(a, b, c)
    old = read(c.folder, "d/2")
    c.settle(2)
    c.down()
    saved = c.home + ".saved", c.folder + ".saved"
    for source, target in zip((c.home, c.folder), saved):
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("*.sock", "lock"))
    c.up(peers=[a, b])
    c.wait(60, 2)
    os.unlink(path_of(a.folder, "d/2"))
    write(a.folder, "d/3", b"four")
    a.settle(2)
    same_trees(a, b, c)
    forget_at_once(a, b, c)
    gone_everywhere(a, b, c)
    c.down()
    for source, target in zip(saved, (c.home, c.folder)):
        shutil.rmtree(target)
        shutil.copytree(source, target, symlinks=True)
    assert exists(c.folder, "d/2")
    c.up(peers=[a, b])
    wait_until(lambda: not exists(c.folder, "d/2"), 60, "d/2 is deleted on c, too")
    same_trees(a, b, c)
    assert not exists(a.folder, "d/2") and read(c.folder, "d/3") == b"four"
    version = next(v["version"] for v in c.cli("log", "d/2", json=True) if v["kind"] == "file" and v["size"] == len(old))
    assert c.cli("cat", "d/2", "--version", version).raw == old


@test
def who_joins_later_gets_what_is_left():
    a, b = group("a", "b")
    history(a)
    forget_at_once(a, b)
    gone_everywhere(a, b)
    d = node("d")
    d.join(a.invite(), at=a.address)
    d.up(peers=[a, b])
    d.wait(60, 2)
    same_trees(a, b, d)
    assert rows(d, "entry") == rows(a, "entry") and rows(d, "pruned WHERE own = 1") == 0
    write(d.folder, "d/4", b"of d")
    wait_until(lambda: is_file_with(a.folder, "d/4", b"of d"), 20, "d/4 of d on a")
    e = node("e")
    e.join(a.invite(), at=a.address)
    a.down()
    b.down()
    e.up(peers=[d])                                  # and from who has not forgotten anything himself
    e.wait(60)
    same_trees(d, e)


@test
def what_a_liar_hides_comes_back():
    a, d = group("a", "d")
    m = node("m")
    m.join(a.invite(), at=a.address)
    wait_until(lambda: len(d.status()["peers"]) == 2, 20, "d knows of m")
    d.down()
    for i in range(20):
        write(a.folder, f"file{i}", b"x" * i)
    a.settle(0)
    liar = m.popen(LIAR, m.home, "hidden", a.address, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    closing(liar.kill)
    ready = liar.stdout.readline().split()
    assert ready[:1] == [b"ready"], (ready, liar.stderr.read())
    a.down()
    d.up(peers=[ready[1].decode()])
    wait_until(lambda: rows(d, "pruned") > 0, 30, "d has heard the lie")
    assert rows(d, "entry") == 0
    a.up()
    d.down()
    d.up(peers=[a, ready[1].decode()])
    same_trees(a, d)
    assert rows(d, "pruned") == 0 and rows(d, "entry") == rows(a, "entry")
    assert said(d, "hidden by a false pruning"), "nothing in the log"
    liar.stdin.close()


tap.main()
