"""Accidents of identity: an index, a home or a folder that is lost, or older than the rest; two machines with one device's keys;
clocks that are years wrong. Nothing is lost, nothing is deleted that its user did not delete, and the group goes on."""
# first
import os
import shutil
import signal
import subprocess

from lanyard import (Node, exists, failed, fixture, group, is_file_with, make_tree, path_of, random_bytes, read, same_trees, tap,
                     temp_dir, test, tree_digest, wait_until, write)


def copy(source, target):
    """What a backup program does: everything with its times, and nothing else."""
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("*.sock", "lock"))


def back(saved, place):
    """What was saved is in the place of what is there."""
    if os.path.isdir(saved):
        shutil.rmtree(place)
        copy(saved, place)
    else:
        shutil.copy2(saved, place)


def no_conflicts(*nodes):
    for n in nodes:
        assert n.cli("conflicts", json=True) == [], n.name


def pair():
    """Two nodes with a tree, and b stopped."""
    a, b = group("a", "b", fill=lambda folder: make_tree(folder, seed=51, files=40))
    write(b.folder, "of-b", b"first")
    same_trees(a, b)
    a.settle()
    b.settle()
    b.down()
    return a, b


def up_again(b, a):
    b.up(peers=[a])
    b.wait(60)
    a.wait(60)


def all_as(expected, *nodes):
    """The folders are equal, and just this."""
    wait_until(lambda: all(tree_digest(n.folder) == expected for n in nodes), 30,
               lambda: f"{len(expected)} things everywhere; there are {[len(tree_digest(n.folder)) for n in nodes]}")


@test
def a_lost_index_deletes_nothing_and_brings_nothing_back():
    a, b = pair()
    os.unlink(path_of(a.folder, "of-b"))             # while b is away
    write(a.folder, "edited", b"on a")
    a.settle(peers=0)
    expected = tree_digest(a.folder)
    os.unlink(os.path.join(b.home, "index.db"))
    up_again(b, a)
    assert tree_digest(a.folder).items() >= expected.items()
    same_trees(a, b)
    write(b.folder, "edited", b"on b")               # and the new incarnation is one that others take
    wait_until(lambda: is_file_with(a.folder, "edited", b"on b"), 20, "an edit of b on a")
    no_conflicts(a, b)


@test
def files_that_went_while_there_was_no_index_come_back():
    a, b = pair()
    expected = tree_digest(a.folder)
    os.unlink(os.path.join(b.home, "index.db"))
    os.unlink(path_of(b.folder, "of-b"))
    up_again(b, a)
    all_as(expected, a, b)


@test
def an_index_of_yesterday_deletes_nothing_and_writes_no_number_twice():
    a, b = pair()
    index = os.path.join(b.home, "index.db")
    saved = index + ".yesterday"
    shutil.copy2(index, saved)
    b.up(peers=[a])
    for i in range(5):
        write(b.folder, f"today{i}", b"%d" % i)
    write(b.folder, "of-b", b"second")
    os.unlink(path_of(b.folder, "today4"))
    b.settle()
    same_trees(a, b)
    b.down()
    back(saved, index)
    write(a.folder, "meanwhile", b"on a")
    os.unlink(path_of(b.folder, "today0"))           # who has lost his memory is not believed that he has deleted this
    write(b.folder, "today1", b"again")
    a.settle(peers=0)
    up_again(b, a)
    digest = same_trees(a, b)
    assert {b"today0", b"today1", b"today2", b"today3", b"of-b", b"meanwhile"} <= digest.keys(), digest.keys()
    assert read(a.folder, "of-b") == b"second" and read(a.folder, "today1") == b"again"
    assert b"doubt" in read(os.path.dirname(b.log), os.path.basename(b.log)), "nobody has noticed"
    write(b.folder, "tomorrow", b"x")
    wait_until(lambda: is_file_with(a.folder, "tomorrow", b"x"), 20, "what b writes then on a")


@test
def a_folder_of_yesterday_is_brought_up_to_date():
    a, b = pair()
    saved = b.folder + ".yesterday"
    copy(b.folder, saved)
    b.up(peers=[a])
    write(b.folder, "of-b", b"second")
    write(b.folder, "new", b"of today")
    b.settle()
    same_trees(a, b)
    expected = tree_digest(a.folder)
    b.down()
    back(saved, b.folder)
    up_again(b, a)
    all_as(expected, a, b)                           # it was no deletion of `new`, and no edit of `of-b` back to what it was
    no_conflicts(a, b)


def back_before_deletions():
    """b is down, and its folder is from before files and a directory of it were deleted. And what there should be."""
    a, b = pair()
    write(b.folder, "d/1", b"with its directory")
    up_again(b, a)
    same_trees(a, b)
    b.down()
    saved = b.folder + ".yesterday"
    copy(b.folder, saved)
    b.up(peers=[a])
    os.unlink(path_of(b.folder, "of-b"))
    shutil.rmtree(path_of(b.folder, "d"))
    b.settle()
    wait_until(lambda: not exists(a.folder, "of-b") and not exists(a.folder, "d"), 20, "the deletions on a")
    expected = tree_digest(a.folder)
    b.down()
    back(saved, b.folder)
    return a, b, expected


@test
def what_was_deleted_since_yesterday_stays_deleted():
    a, b, expected = back_before_deletions()
    write(b.folder, "d/2", b"made before the start")
    up_again(b, a)
    wait_until(lambda: not exists(b.folder, "of-b") and not exists(b.folder, "d/1"), 20, "the deletions on b")
    wait_until(lambda: is_file_with(a.folder, "d/2", b"made before the start"), 20, "what is new on a")
    shutil.rmtree(path_of(b.folder, "d"))
    all_as(expected, a, b)


@test
def a_folder_of_yesterday_without_an_index():
    a, b = pair()
    saved = b.folder + ".yesterday"
    copy(b.folder, saved)
    b.up(peers=[a])
    write(b.folder, "of-b", b"second")
    write(b.folder, "new", b"of today")
    b.settle()
    same_trees(a, b)
    b.down()
    back(saved, b.folder)
    os.unlink(os.path.join(b.home, "index.db"))
    up_again(b, a)
    same_trees(a, b)
    assert read(a.folder, "of-b") == b"second" and read(a.folder, "new") == b"of today"


@test
def what_was_deleted_stays_deleted_without_an_index():
    a, b, expected = back_before_deletions()
    os.unlink(os.path.join(b.home, "index.db"))
    a.signal(signal.SIGSTOP)
    b.up()
    b.cli("scan")                                    # it finds all of it before anybody can tell it better
    b.down()
    a.signal(signal.SIGCONT)
    up_again(b, a)
    all_as(expected, a, b)
    no_conflicts(a, b)


@test
def all_of_yesterday_is_known_by_the_peers():
    a, b = pair()
    for place in (b.home, b.folder):
        copy(place, place + ".yesterday")
    b.up(peers=[a])
    write(b.folder, "of-b", b"second")
    write(b.folder, "new", b"of today")
    b.settle()
    same_trees(a, b)
    expected = tree_digest(a.folder)
    b.down()
    for place in (b.home, b.folder):
        back(place + ".yesterday", place)
    up_again(b, a)
    all_as(expected, a, b)
    write(b.folder, "after", b"x")
    wait_until(lambda: is_file_with(a.folder, "after", b"x"), 20, "what b writes then on a")
    assert all(n.cli("audit", "--verify", json=True)["ok"] for n in (a, b))       # also with two histories
    no_conflicts(a, b)


@test
def a_crash_is_no_reason_for_doubt():
    a, b = pair()
    b.up(peers=[a])
    b.kill9()
    up_again(b, a)
    assert b"doubt" not in read(os.path.dirname(b.log), os.path.basename(b.log))


@test
def two_machines_with_the_keys_of_one_device_stop_and_say_so():
    a, b = pair()
    twin = Node(b.home + ".twin", b.folder + ".twin", name="twin")
    for source, target in ((b.home, twin.home), (b.folder, twin.folder)):
        copy(source, target)
    config = os.path.join(twin.home, "config")
    with open(config, encoding="utf-8") as f:
        text = f.read().replace(b.folder, twin.folder)
    with open(config, "w", encoding="utf-8") as f:
        f.write(text)
    b.up(peers=[a])
    twin.up(peers=[b])
    for n in (b, twin):
        status = wait_until(lambda n=n: n.status() if n.status()["state"] == "error" else None, 30, f"{n.name} in error")
        assert "keys" in status["error"] and "join again" in status["error"], status["error"]
    write(twin.folder, "on-the-twin", b"x")
    write(b.folder, "on-b", b"x")
    b.cli("scan")
    assert not exists(a.folder, "on-b")
    twin.kill9()
    wait_until(lambda: is_file_with(a.folder, "on-b", b"x"), 60, "b to go on once it is alone")
    assert b.status()["error"] is None and not exists(a.folder, "on-the-twin")


@test
def what_was_written_after_yesterday_was_restored_and_what_was_before_are_both_kept():
    a, b = pair()
    for place in (b.home, b.folder):
        copy(place, place + ".yesterday")
    b.up(peers=[a])
    write(b.folder, "of-today", b"known to a")
    write(b.folder, "both", b"known to a")
    b.settle()
    same_trees(a, b)
    b.down()
    for place in (b.home, b.folder):
        back(place + ".yesterday", place)
    a.down()
    b.up()                                           # alone: nobody can warn it, and it uses numbers for the second time
    write(b.folder, "of-now", b"by the one restored")
    write(b.folder, "both", b"by the one restored")
    os.unlink(path_of(b.folder, "of-b"))
    b.cli("scan")
    b.down()
    a.up()
    up_again(b, a)
    wait_until(lambda: exists(a.folder, "of-now") and exists(b.folder, "of-today"), 40, "both histories on both")
    same_trees(a, b)
    a.wait(60)
    assert read(a.folder, "both") == b"by the one restored" and not exists(a.folder, "of-b")
    # What lived of the stream that has split is signed again once everybody has the proof.
    wait_until(lambda: [c["path"] for c in a.cli("conflicts", json=True)] == ["both"], 20, "the conflict")
    conflicts = a.cli("conflicts", json=True)
    assert a.cli("cat", "both", "--version", conflicts[0]["losers"][0]["version"]).raw == b"known to a"
    write(b.folder, "after", b"x")
    wait_until(lambda: is_file_with(a.folder, "after", b"x"), 20, "what b writes then on a")


# ---- clocks ----

TEN_YEARS = 10 * 365 * 86400


@fixture
def clock_library():
    """Built here: it must not be linked with a sanitizer's runtime."""
    library = os.path.join(temp_dir("clock"), "clock.so")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "preload", "clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def with_clock(n):
    """A function that sets the clock of the node, from its next start on: by how many seconds it is ahead."""
    place, library, env = n.home + ".clock", clock_library(), n.env

    def put(seconds):
        with open(place + ".new", "w", encoding="ascii") as f:
            f.write(f"{seconds}\n")
        os.rename(place + ".new", place)
    n.env = lambda: {**env(), "LD_PRELOAD": library, "LANYARD_TEST_CLOCK": place}
    put(0)
    return put


def told_of_its_clock(n):
    return b"clock differs" in read(os.path.dirname(n.log), os.path.basename(n.log))


@test
def a_clock_that_was_ten_years_ahead():
    a, b = pair()
    a.cli("device", "role", "b", "admin")
    clock = with_clock(b)
    clock(TEN_YEARS)
    b.up(peers=[a])
    write(b.folder, "of-the-future", b"x")
    write(b.folder, "of-b", b"second")
    b.cli("scan")
    write(a.folder, "of-a", b"y")
    wait_until(lambda: is_file_with(b.folder, "of-a", b"y"), 20, "a's file on b")
    wait_until(lambda: told_of_its_clock(b), 30, "b to be told")
    assert not exists(a.folder, "of-the-future")
    done = b.cli("require", check=False)             # what will be taken back nobody could reach
    failed(done, 1)
    assert "the clock of this device differs" in done.err and b.status()["required"] is None, done.err
    clock(0)                                         # while it runs
    wait_until(lambda: is_file_with(a.folder, "of-the-future", b"x") and is_file_with(a.folder, "of-b", b"second"), 60,
               "what b had dated in the future on a")
    same_trees(a, b)
    a.wait(60)
    b.wait(60)
    write(a.folder, "of-b", b"third")                # and it is not that what comes later loses for ten years
    wait_until(lambda: is_file_with(b.folder, "of-b", b"third"), 20, "an edit of a on b")
    no_conflicts(a, b)


@test
def a_clock_that_was_ten_years_behind():
    a, b = pair()
    clock = with_clock(b)
    clock(-TEN_YEARS)
    b.up(peers=[a])
    write(b.folder, "of-the-past", b"x")
    wait_until(lambda: is_file_with(a.folder, "of-the-past", b"x"), 30, "b's file on a")
    write(a.folder, "of-a", b"y")
    a.cli("scan")
    wait_until(lambda: told_of_its_clock(b), 30, "b to be told")
    a.cli("device", "role", "b", "admin")            # what he does now is not hidden as of ten years ago
    wait_until(lambda: b.status()["device"]["role"] == "admin", 20, "b to be an admin")
    b.cli("policy", "set", "max_file_size", "1G")
    wait_until(lambda: "policy" in [x["what"] for x in a.cli("audit", "--since", "1h", json=True)[:2]], 20, "it among the newest on a")
    clock(0)
    wait_until(lambda: is_file_with(b.folder, "of-a", b"y"), 60, "a's file on b once its clock is right")
    same_trees(a, b)
    no_conflicts(a, b)


@test
def old_versions_outlive_a_clock_that_is_ten_years_off():
    a, b = pair()
    clock = with_clock(b)
    b.up(peers=[a])
    first, second = random_bytes(1, 5000), random_bytes(2, 5000)
    for data in (first, second):
        write(a.folder, "f", data)
        wait_until(lambda data=data: is_file_with(b.folder, "f", data), 20, "a's file on b")
    b.wait(60)
    b.cli("gc")
    a.down()
    now, before = [v["version"] for v in b.cli("log", "f", json=True)]

    clock(TEN_YEARS)                                 # nobody is there to know better
    b.cli("gc")
    assert b.cli("cat", "f", "--version", before).raw == first

    clock(-TEN_YEARS)                                # what is put away now is not ten years old then
    b.cli("restore", "f", "--version", before)
    wait_until(lambda: is_file_with(b.folder, "f", first), 20, "the first version on b")
    clock(0)
    b.cli("gc")
    assert b.cli("cat", "f", "--version", now).raw == second


tap.main()
