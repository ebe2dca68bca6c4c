"""A malicious member, and strangers, against a pair of honest nodes: nothing outside the folder changes, the pair goes on syncing,
nothing crashes, memory stays bounded, and the log says what was refused."""
# first
import os
import subprocess
import threading

from lanyard import (BUILD, SLOW, Failed, closing, descendants, exists, fixture, is_file_with, group, node, path_of, random_bytes,
                     read, tap, temp_dir, test, wait_until, write)

LIAR = os.path.join(BUILD, "tests", "e2e", "liar")
MEMORY_MB = 300                       # resident, at any moment of any attack
SERVING_MB = 90                       # the same, while contents are read and sent: 32 MiB, and the node itself
SANITIZED = "address" in os.path.basename(BUILD)
count = iter(range(10**6))


class World:
    """A and B are honest and up. M is a member whose node never runs: the liar speaks with its keys. `outside` is no node's folder."""

    def __init__(self):
        self.a, self.b = group("a", "b")
        self.m = node("m")
        self.m.join(self.a.invite(), at=self.a.address)
        self.outside = temp_dir("outside")
        write(self.outside, "present", b"as it was")
        write(self.a.folder, "large", random_bytes(1, 12_000_000))
        write(self.a.folder, "small", b"small")
        self.a.settle()
        self.b.settle()

    def log(self, n):
        with open(n.log, "rb") as f:
            return f.read().decode("utf-8", "replace")


world = fixture(World)


def check(deadline=20):
    """The pair is well: both run, a new file goes either way, and outside is what it was."""
    w = world()
    for n, other in ((w.a, w.b), (w.b, w.a)):
        name, data = f"after-{next(count)}", random_bytes(next(count), 3000)
        assert n.running() and other.running(), "a node has ended"
        write(n.folder, name, data)
        wait_until(lambda: is_file_with(other.folder, name, data), deadline, f"{name} of {n.name} at {other.name}")
    assert os.listdir(w.outside) == ["present"] and read(w.outside, "present") == b"as it was"
    assert not exists(w.a.folder, "twisted") and not exists(w.b.folder, "twisted")


def start(scenario, *args):
    liar = world().m.popen(LIAR, world().m.home, scenario, *[a.address if hasattr(a, "address") else a for a in args],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    closing(liar.kill)
    return liar


def attack(scenario, *args):
    """The liar as a client; ends by itself."""
    done = start(scenario, *args)
    _, err = done.communicate(timeout=60 * SLOW)
    if done.returncode:
        raise Failed(f"liar {scenario}: exit code {done.returncode}: {err.decode()}")


class Stand:
    """The liar as somebody who is dialled, for the time of a with statement; `asked` says how often it was asked for what."""

    def __init__(self, scenario, *args):
        self.name, self.args, self.asked = scenario, args, {}

    def __enter__(self):
        self.liar = start(self.name, *self.args)
        line = self.liar.stdout.readline().decode()
        if not line.startswith("ready "):
            raise Failed(f"liar {self.name}: {line} {self.liar.stderr.read().decode()}")
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        self.wait(hellos=1)
        return self

    def read(self):
        for line in self.liar.stdout:
            words = line.decode().split()
            self.asked = dict(zip(words[::2], map(int, words[1::2])))

    def wait(self, **least):
        """Until it has been asked that often."""
        wait_until(lambda: all(self.asked.get(k, 0) >= n for k, n in least.items()), 40, lambda: f"{least}: {self.asked}")

    def __exit__(self, kind, *_):
        self.liar.stdin.close()
        code = self.liar.wait(30 * SLOW)
        self.reader.join()
        if code and not kind:
            raise Failed(f"liar {self.name}: exit code {code}: {self.liar.stderr.read().decode()}")


class Memory:
    """The greatest resident memory of a node for the time of a with statement."""

    def __init__(self, n, most=MEMORY_MB):
        self.most = most
        self.pid = max(descendants(n.process.pid), key=lambda p: self.read(p, "VmRSS"))

    def read(self, pid, key):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return next((int(line.split()[1]) for line in f if line.startswith(key + ":")), 0)

    def __enter__(self):
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")                 # VmHWM begins anew
        return self

    def __exit__(self, kind, *_):
        if not kind and not SANITIZED:
            most = self.read(self.pid, "VmHWM") // 1024
            print(f"# {most} MB at most")
            assert most < self.most, f"{most} MB resident"


def logs(n, words, before=""):
    """Waits for a line in the node's log, behind what it held before."""
    wait_until(lambda: words in world().log(n)[len(before):], 15, f"{words!r} in the log of {n.name}")


def online(n, name):
    """Not `wait`: files of which the liar gave only the names are still to be got."""
    wait_until(lambda: any(p["name"] == name and p["online"] for p in n.status()["peers"]), 30, f"{name} online at {n.name}")


# ---- who is not let in, and who is not who he says ----

@test
def the_liar_can_speak_truly():
    w = world()
    with Stand("good", w.a, w.b):
        for n in (w.a, w.b):
            wait_until(lambda: is_file_with(n.folder, "from-liar", b"this is well") and exists(n.folder, "from-liar-blocks"), 20, "its files")
    check()


@test
def strangers_get_no_answer():
    attack("strangers", world().a)
    logs(world().a, "connection refused")
    check()


@test
def a_greeting_in_the_name_of_another_is_refused():
    attack("hello-other", world().a)
    logs(world().a, "greeting refused")
    check()


@test
def a_greeting_of_another_cannot_be_replayed():
    attack("hello-replayed", world().a, world().b)
    logs(world().a, "greeting refused")
    check()


@test
def an_answer_in_the_name_of_another_is_refused():
    with Stand("hello-as-other", world().a) as stand:
        stand.wait(hellos=2)             # it is dialled again
        logs(world().a, "peer refused")
        check()
    assert stand.asked["cs"] == stand.asked["vec"] == 0, stand.asked


@test
def greetings_with_ever_new_ports_leave_room_for_others():
    w = world()
    attack("ports", w.a)
    check()
    assert "address ignored" not in w.log(w.a)


# ---- malformed and senseless messages ----

@test
def malformed_requests_are_ignored():
    with Memory(world().a):
        attack("heads", world().a)
    logs(world().a, "message refused")
    check()


@test
def senseless_requests_are_answered():
    attack("ranges", world().a)
    check()


@test
def malformed_answers_end_the_connection():
    w = world()
    with Memory(w.a), Stand("malformed", w.a, w.b) as stand:
        stand.wait(vec=8)                # eight kinds of them
        check()
    logs(w.a, "answer refused")


# ---- floods ----

def flood(what, most=MEMORY_MB):
    w = world()
    with Memory(w.a, most):
        attack("flood-" + what, w.a)
        check()


@test
def a_flood_of_requests_for_blocks(): flood("blk", SERVING_MB)


@test
def a_flood_of_requests_for_lists(): flood("tree")


@test
def a_flood_of_questions_what_is_there(): flood("have")


@test
def a_flood_of_requests_for_change_sets(): flood("cs")


@test
def a_flood_of_requests_for_vectors(): flood("vec")


@test
def a_flood_of_requests_with_bodies(): flood("body")


@test
def a_flood_of_large_vectors():
    w = world()
    with Memory(w.a), Stand("flood-vectors", w.a) as stand:
        stand.wait(published=1500)       # gigabytes
        check(60)


@test
def a_flood_of_answers_that_nobody_has_asked_for():
    w = world()
    with Memory(w.a), Stand("flood-replies", w.a) as stand:
        stand.wait(published=500)
        check(60)


# ---- vectors ----

@test
def a_vector_with_as_many_streams_as_there_may_be():
    w = world()
    with Memory(w.a), Stand("many-streams", w.a, w.b) as stand:
        stand.wait(vec=2, cs=2)
        check(40)


@test
def a_forged_vector_is_refused():
    with Stand("forged-vector", world().a):
        logs(world().a, "vector refused")
        check()


@test
def an_old_vector_of_another_start_is_refused():
    w = world()
    saved = os.path.join(temp_dir("saved"), "vector")
    attack("save-vector", w.b, saved)
    w.b.down()
    w.b.up(peers=[w.a])
    online(w.a, "b")
    with Stand("replay", w.a, saved):
        logs(w.a, "vector refused")
        check()


# ---- control log ----

@test
def control_logs_that_it_has_signed_itself():
    w = world()
    with Stand("false-control", w.a) as stand:
        stand.wait(ctl=1)
        logs(w.a, "control records refused")
        stand.wait(published=stand.asked["published"] + 15)
    assert stand.asked["ctl"] < 10, stand.asked
    check()


# ---- change sets ----

def refused_set(scenario, *args, words="change sets refused"):
    w = world()
    with Stand(scenario, w.a, w.b, *args) as stand:
        stand.wait(cs=2, hellos=2)
        logs(w.a, words)
        check()


@test
def change_sets_that_are_not_what_was_signed():
    for scenario in ("bad-signature", "flipped-byte", "wrong-root", "count-lies", "inline-lies"):
        refused_set(scenario)


@test
def a_clock_an_hour_ahead():
    refused_set("clock-ahead")


@test
def paths_that_leave_the_folder():
    for path in (b"../x", b"a/../../x", b"/tmp/x", b".lanyard/x", b".LanYard/x", b"a\0b", b"a//b", b"", b".", b"a/", b"x" * 256, b"x/" * 600 + b"x"):
        refused_set("path", path.hex())
        for n in (world().a, world().b):
            assert not exists(n.folder, "before") and not exists(n.folder, "../x")


@test
def a_path_through_a_symlink():
    w = world()
    with Stand("through-symlink", w.a, w.b, w.outside):
        for n in (w.a, w.b):
            wait_until(lambda: os.path.lexists(path_of(n.folder, "s")), 20, "s")
        check(30)
    check()


def forgiven():
    """Nobody is held to be a liar yet: both nodes start anew."""
    w = world()
    w.a.down()
    w.b.down()
    w.a.up()
    w.b.up(peers=[w.a])
    online(w.a, "b")


@test
def sizes_and_counts_that_lie():
    w = world()
    forgiven()
    with Memory(w.a), Stand("sizes-lie", w.a, w.b) as stand:
        stand.wait(blk=1, tree=6)
        check()
    for name in ("one-longer", "one-shorter", "three-longer", "three-shorter", "more-blocks", "fewer-blocks", "huge"):
        assert not exists(w.a.folder, name) and not exists(w.b.folder, name), name
    check()


DISTRUST = "asked for no more"


@test
def contents_that_exist_described_wrongly():
    w = world()
    check()                              # there are files of one block
    forgiven()
    before = {n: w.log(n) for n in (w.a, w.b)}
    with Stand("borrowed-roots", w.a, w.b) as stand:
        stand.wait(tree=30, blk=6)
        check()
    for n in (w.a, w.b):
        assert not [f for f in os.listdir(n.folder) if f.startswith("borrowed")]
        assert DISTRUST not in w.log(n)[len(before[n]):], "an honest node was taken for a liar"


@test
def a_list_that_is_not_that_of_the_file():
    w = world()
    forgiven()
    before = w.log(w.a)
    with Stand("twisted-list", w.a, w.b) as stand:
        stand.wait(tree=3)
        logs(w.a, DISTRUST, before)
        check()
    assert not exists(w.a.folder, "twisted-list")
    assert w.log(w.a)[len(before):].count(DISTRUST) == 1
    with Stand("good", w.a, w.b, "well-again"):
        for n in (w.a, w.b):             # it has started anew
            wait_until(lambda: exists(n.folder, "well-again"), 20, "the file of whom nobody believed anything")


@test
def lists_of_a_million_blocks():
    w = world()
    forgiven()
    with Memory(w.a), Stand("huge-lists", w.a, w.b) as stand:
        stand.wait(tree=40)
        check()
        logs(w.a, DISTRUST)


def edits_go_on(name):
    w = world()
    for i, (n, other) in enumerate(((w.b, w.a), (w.a, w.b), (w.b, w.a), (w.a, w.b))):
        data = b"edit %d" % i
        write(n.folder, name, data)
        wait_until(lambda: is_file_with(other.folder, name, data), 30, f"edit {i} of {name}")


@test
def an_entry_that_covers_the_future():
    w = world()
    with Stand("covers-future", w.a, w.b, "future"):
        for n in (w.a, w.b):
            wait_until(lambda: is_file_with(n.folder, "future", b"hi"), 20, "future")
    edits_go_on("future")
    check()


@test
def an_entry_with_as_large_a_context_as_there_may_be():
    w = world()
    with Stand("full-context", w.a, w.b, "full"):
        for n in (w.a, w.b):
            wait_until(lambda: is_file_with(n.folder, "full", b"hi"), 20, "full")
    check()
    edits_go_on("full")
    check()


@test
def two_histories_under_one_stream():
    w = world()
    with Stand("two-histories", w.a, w.b):
        for n in (w.a, w.b):
            wait_until(lambda: exists(n.folder, "history"), 20, "history")
        check(30)


@test
def thousands_of_streams():
    w = world()
    with Memory(w.a), Stand("real-streams", w.a, w.b, "5000"):
        wait_until(lambda: all(os.path.isdir(path_of(n.folder, "streams")) and len(os.listdir(path_of(n.folder, "streams"))) == 5000
                               for n in (w.a, w.b)), 60, "a file of each stream")
    check()


@test
def thousands_of_versions_of_one_path():
    w = world()
    with Memory(w.a), Stand("one-path", w.a, w.b, "1000"):
        for n in (w.a, w.b):
            wait_until(lambda: is_file_with(n.folder, "one-path", b"version"), 60, "the path")
        check()
    check()


# ---- who promises and does not keep it ----

def with_liar_first(scenario, act, *more, asked=None):
    """A starts anew and meets the liar before B, so that it is asked first; then B comes and act() is to succeed. Whom A asks first is also a
    matter of luck: with `asked`, act() is done again, some times, until the liar has been asked for that."""
    w = world()
    check()                              # every node has a stream of which something can be claimed
    w.a.down()
    w.b.down()
    w.a.up()
    with Stand(scenario, w.a, *more) as stand:
        online(w.a, "m")
        w.b.up(peers=[w.a])
        online(w.a, "b")
        act()
        for _ in range(9):
            if not asked or stand.asked[asked]:
                break
            act()
    assert not asked or stand.asked[asked], stand.asked
    return stand


def new_file_of_b(size, deadline, where=None):
    """B writes a file, and A must get it. `where` is to hold B's address."""
    w = world()

    def act():
        name, data = f"of-b-{next(count)}", random_bytes(next(count), size)
        if where:
            write(os.path.dirname(where), os.path.basename(where), w.b.address.encode())
        write(w.b.folder, name, data)
        wait_until(lambda: is_file_with(w.a.folder, name, data), deadline, f"{name} at a")
    return act


def address_file():
    return os.path.join(temp_dir("where"), "address")


@test
def wrong_blocks_are_taken_from_others():
    w, where = world(), address_file()
    before = w.log(w.a)
    stand = with_liar_first("wrong-blocks", new_file_of_b(9_000_000, 20, where), where)
    assert stand.asked["blk"], stand.asked
    logs(w.a, DISTRUST, before)
    assert w.log(w.a)[len(before):].count(DISTRUST) == 1
    check()


@test
def blocks_that_never_come_are_taken_from_others():
    where = address_file()
    stand = with_liar_first("silent-blocks", new_file_of_b(9_000_000, 20, where), where)
    assert stand.asked["blk"], stand.asked
    check()


@test
def lists_that_never_come_are_taken_from_others():
    with_liar_first("silent-lists", new_file_of_b(1_000_000, 20), asked="tree")
    check()


@test
def change_sets_that_never_come_are_taken_from_others():
    with_liar_first("silent-sets", new_file_of_b(3000, 12), asked="cs")
    check()


@test
def promises_of_change_sets_that_are_empty():
    with_liar_first("empty-sets", new_file_of_b(3000, 20), asked="cs")
    check()


@test
def a_control_log_that_never_comes_is_taken_from_others():
    w = world()
    with Stand("silent-control", w.b) as stand:
        stand.wait(ctl=1)
        late = node("late")
        late.join(w.a.invite(), at=w.a.address)
        late.up(peers=[w.a, w.b])
        online(w.b, "late")              # B has got the new record from A
        online(late, "b")
    late.down()
    check()


tap.main()
