"""SQLite databases: programs use them all the time, and what arrives elsewhere is always a whole state of them."""
# first
import mmap
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile

from lanyard import closing, descendants, exists, failed, group, is_file_with, node, path_of, read, same_trees, tap, test, wait_until, write

# Transactions one after the other, in each of which the sums of two tables grow by the same; until a line comes, or the end.
# argv: file, journal mode, number of transactions (0: no end), bytes in each
PROGRAM = """
import select, sqlite3, sys
path, mode, most, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
db = sqlite3.connect(path, timeout=30, isolation_level=None)
db.execute("PRAGMA journal_mode=" + mode)
for t in "ab":
    db.execute(f"CREATE TABLE IF NOT EXISTS {t}(id INTEGER PRIMARY KEY, n INT, fill BLOB)")
done = 0
while (not most or done < most) and not select.select([sys.stdin], [], [], 0.003)[0]:
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO a(n, fill) VALUES (1, randomblob(?))", (size,))
    db.execute("UPDATE a SET fill = randomblob(?) WHERE id = abs(random()) % 50", (size,))
    db.execute("INSERT INTO b(n, fill) VALUES (1, randomblob(?))", (size,))
    db.execute("COMMIT")
    done += 1
print(db.execute("SELECT count(*) FROM a").fetchone()[0], flush=True)
sys.stdin.read()
"""


class Program:
    """One that uses a database, in a process of its own."""

    def __init__(self, n, path, mode, most=0, size=2000):
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, path_of(n.folder, path), mode, str(most), str(size)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        closing(self.kill)

    def stop(self):
        """It writes no more, and still has it open. The number of its transactions."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return self.count()

    def count(self):
        return int(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        assert self.process.wait() == 0

    def kill(self):
        self.process.kill()
        self.process.wait()


def look(data):
    """How many transactions a copy of a database has seen; fails unless they are whole ones."""
    with tempfile.NamedTemporaryFile(suffix=".db") as f:
        f.write(data)
        f.flush()
        db = sqlite3.connect(f.name)
        try:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            a, b = (db.execute(f"SELECT count(*), coalesce(sum(n), 0) FROM {t}").fetchone() for t in "ab")
        except sqlite3.OperationalError as e:
            assert "no such table" in str(e)        # before its first transaction
            return 0
        finally:
            db.close()
            for suffix in ("-wal", "-shm"):
                if os.path.exists(f.name + suffix):
                    os.unlink(f.name + suffix)
    assert a == b, f"half a transaction: {a} and {b}"
    return a[0]


def seen(n, path):
    """What the device shows, in a folder where no program uses it; None: nothing yet."""
    try:
        with open(path_of(n.folder, path), "rb") as f:
            return look(f.read())
    except FileNotFoundError:
        return None


def versions(n, path):
    return n.cli("log", path, json=True) if n.cli("log", path, check=False).code == 0 else []


def all_versions_are_whole(n, path):
    counts = [look(n.cli("cat", path, "--version", v["version"]).raw) for v in versions(n, path) if v["kind"] == "file"]
    assert counts == sorted(counts, reverse=True), f"{counts}: not in the order in which they were written"
    return counts


def no_parts(n, path):
    return not any(exists(n.folder, path + s) or versions(n, path + s) for s in ("-wal", "-shm", "-journal"))


def written_all_the_time(mode):
    a, b = group("a", "b")
    p = Program(a, "x.db", mode)
    wait_until(lambda: len(versions(b, "x.db")) >= 2, 60, "two versions while it is written")
    n = p.stop()
    wait_until(lambda: seen(b, "x.db") == n, 30, "the last state, while the program still has it open")
    p.end()
    same_trees(a, b)
    assert all_versions_are_whole(b, "x.db")[0] == n
    assert no_parts(b, "x.db") and not any(versions(a, "x.db" + s) for s in ("-wal", "-shm", "-journal"))


@test
def one_with_a_log_that_is_written_all_the_time_arrives_whole():
    written_all_the_time("WAL")


@test
def one_with_journals_that_is_written_all_the_time_arrives_whole():
    written_all_the_time("DELETE")


def add(n, path, times, mode=None):
    """A program adds some transactions and ends. How many there are then."""
    p = Program(n, path, mode or "WAL", most=times)
    count = p.count()
    p.end()
    return count


def is_known(n, path, count):
    """Whether some version of it that can be had here has seen that many transactions."""
    for v in versions(n, path):
        if v["available"] == "here" and v["kind"] == "file":
            data = n.cli("cat", path, "--version", v["version"], check=False)     # one that lies there may be overwritten meanwhile
            if data.code == 0 and look(data.raw) == count:
                return True
    return False


def alone(n, path):
    return not any(exists(n.folder, path + s) for s in ("-wal", "-journal", "-shm"))


def stopped_copying(n, path):
    """The process that copies the database, in the middle of that."""
    for pid in descendants(n.process.pid)[:-1]:
        try:
            os.kill(pid, signal.SIGSTOP)
            if any(os.readlink(f"/proc/{pid}/fd/{fd}").endswith(path + "-wal") for fd in os.listdir(f"/proc/{pid}/fd")):
                return pid
            os.kill(pid, signal.SIGCONT)
        except (ProcessLookupError, FileNotFoundError):
            pass
    return None


@test
def one_that_is_closed_while_it_is_copied_leaves_no_log():
    a, b = group("a", "b")
    p = Program(a, "x.db", "WAL", size=100_000)
    copying = wait_until(lambda: stopped_copying(a, "x.db"), 60, "a copy being made")
    closing(lambda: os.kill(copying, signal.SIGCONT) if os.path.exists(f"/proc/{copying}") else None)
    count = p.stop()
    p.end()
    os.kill(copying, signal.SIGCONT)
    wait_until(lambda: alone(a, "x.db"), 30, "the log folded in")
    assert seen(a, "x.db") == count
    same_trees(a, b)


@test
def one_that_is_open_is_not_replaced_until_it_is_closed():
    a, b = group("a", "b")
    first = add(a, "x.db", 5)
    wait_until(lambda: seen(b, "x.db") == first, 30, "the database on b")
    p = Program(b, "x.db", "WAL", most=3)
    assert p.count() == first + 3
    wait_until(lambda: seen(a, "x.db") == first + 3, 30, "what was written on b")
    b.cli("pause")
    inode = os.stat(path_of(b.folder, "x.db")).st_ino
    second = add(a, "x.db", 7)
    a.cli("scan")
    b.cli("resume")
    wait_until(lambda: len(versions(b, "x.db")) >= 3, 30, "the news on b")
    for name in ("then", "later"):                  # batches in which it was tried
        write(a.folder, name, name.encode())
        wait_until(lambda name=name: is_file_with(b.folder, name, name.encode()), 20, name)
    assert os.stat(path_of(b.folder, "x.db")).st_ino == inode, "replaced under the program's hands"
    p.end()
    wait_until(lambda: alone(b, "x.db") and seen(b, "x.db") == second, 30, "the news in place")
    same_trees(a, b)
    assert b.status()["conflicts"] == 0, "closing it passed for a change"


@test
def closing_it_outdoes_nobody():
    a, b = group("a", "b")
    p = Program(a, "x.db", "WAL", most=5)
    first = p.count()
    wait_until(lambda: seen(b, "x.db") == first, 30, "the snapshot on b")
    for n in (a, b):
        n.cli("pause")
    second = add(b, "x.db", 2, "DELETE")
    b.cli("scan")
    wait_until(lambda: is_known(b, "x.db", second), 20, "what was written on b")
    p.end()                                         # nothing was written since
    a.cli("scan")
    wait_until(lambda: len(versions(a, "x.db")) == 2, 20, "the file at rest, as a version")
    for n in (a, b):
        n.cli("resume")
    wait_until(lambda: seen(a, "x.db") == second, 30, "what was written on b, on a")
    same_trees(a, b)


@test
def closing_it_brings_nothing_back():
    a, b = group("a", "b")
    p = Program(a, "x.db", "WAL", most=5)
    last = p.count()
    wait_until(lambda: seen(b, "x.db") == last, 30, "the snapshot on b")
    for n in (a, b):
        n.cli("pause")
    os.unlink(path_of(b.folder, "x.db"))
    b.cli("scan")
    p.end()                                         # nothing was written since
    a.cli("scan")
    wait_until(lambda: len(versions(a, "x.db")) == 2, 20, "the file at rest, as a version")
    for n in (a, b):
        n.cli("resume")
    wait_until(lambda: not exists(a.folder, "x.db"), 30, "the deletion on a")
    a.settle()
    b.settle()
    assert not exists(b.folder, "x.db") and a.status()["conflicts"] == 0
    assert b.cli("cat", "x.db", "--version", next(v for v in a.cli("log", "x.db", json=True) if v["kind"] == "file")["version"]).raw


@test
def one_that_is_open_is_not_restored_until_it_is_closed():
    n = node("a")
    n.init()
    n.up()
    write(n.folder, "plain", b"one")
    programs = [Program(n, "x.db", "DELETE", most=2)]
    first = programs[0].count()
    wait_until(lambda: versions(n, "x.db") and versions(n, "plain"), 20, "the first versions")
    old, plain = (versions(n, name)[0]["version"] for name in ("x.db", "plain"))
    programs.append(Program(n, "x.db", "DELETE", most=1))
    assert programs[1].count() == first + 1
    wait_until(lambda: len(versions(n, "x.db")) == 2, 20, "a snapshot of what it wrote")
    with open(path_of(n.folder, "plain"), "r+b", buffering=0) as f:
        f.write(b"two")
        for name, version in (("x.db", old), ("plain", plain)):
            done = n.cli("restore", name, "--version", version, check=False)
            failed(done, 1)
            assert f"{name}: a program on this device has it open" in done.err and "close it" in done.err, done.err
    for p in programs:
        p.end()
    n.cli("scan")
    wait_until(lambda: len(versions(n, "x.db")) == 3 and len(versions(n, "plain")) == 2, 20, "both as they were closed")
    n.cli("restore", "x.db", "--version", old)
    n.cli("restore", "plain", "--version", plain)
    assert seen(n, "x.db") == first and read(n.folder, "plain") == b"one"
    assert is_known(n, "x.db", first + 1)


@test
def one_whose_program_was_killed_is_replaced_whole_and_nothing_of_it_is_lost():
    for mode in ("WAL", "DELETE"):
        a, b = group("a", "b")
        first = add(a, "x.db", 5, mode)
        wait_until(lambda: seen(b, "x.db") == first, 30, "the database on b")
        for n in (a, b):
            n.cli("pause")
        p = Program(b, "x.db", mode, most=4)
        mine = p.count()
        p.kill()
        assert exists(b.folder, "x.db-wal") == (mode == "WAL")
        b.cli("scan")
        wait_until(lambda: is_known(b, "x.db", mine), 30, "what the killed program had written, as a version")
        theirs = add(a, "x.db", 9, mode)
        a.cli("scan")
        for n in (a, b):
            n.cli("resume")
        wait_until(lambda: seen(b, "x.db") == theirs and alone(b, "x.db"), 40, "the later one, with nothing beside it")
        same_trees(a, b)
        for n in (a, b):
            wait_until(lambda n=n: is_known(n, "x.db", mine) and is_known(n, "x.db", theirs), 30, f"both on {n.name}")
        assert add(b, "x.db", 1, mode) == theirs + 1
        wait_until(lambda: seen(a, "x.db") == theirs + 1, 30, "what was written to it then")
        b.cli("check")


@test
def two_devices_write_to_it_at_the_same_time():
    a, b = group("a", "b")
    first = add(a, "x.db", 5)
    wait_until(lambda: seen(b, "x.db") == first, 30, "the database on b")
    programs = [Program(n, "x.db", "WAL") for n in (a, b)]
    wait_until(lambda: all(len(versions(n, "x.db")) >= 4 for n in (a, b)), 60, "versions of both on both")
    last = [p.stop() for p in programs]
    for n, count in zip((a, b), last):
        wait_until(lambda n=n, count=count: is_known(n, "x.db", count), 40, f"the last state of {n.name}")
    for p in programs:
        p.end()
    same_trees(a, b)
    shown = seen(a, "x.db")
    assert shown in last and seen(b, "x.db") == shown
    for n in (a, b):
        for count in last:
            wait_until(lambda n=n, count=count: is_known(n, "x.db", count), 40, f"{count} on {n.name}")
        assert alone(n, "x.db")


@test
def nodes_and_programs_are_killed_at_any_moment():
    a, b = group("a", "b")
    count = add(a, "x.db", 5)
    for i in range(6):
        n, other = (a, b) if i % 3 else (b, a)
        wait_until(lambda: seen(other, "x.db") == count and seen(n, "x.db") == count, 60, f"{count} on both")
        p = Program(n, "x.db", "WAL" if i % 2 else "DELETE", most=3 + i)
        count = p.count()
        if i % 2:
            p.kill()
        n.cli("scan")
        n.kill9()
        n.up(peers=[other.address])
        if i % 2 == 0:
            p.end()
        wait_until(lambda: seen(other, "x.db") == count, 60, "what was written, on the other")
        other.kill9()
        other.up(peers=[n.address])
        count = add(other, "x.db", 1)
    wait_until(lambda: seen(a, "x.db") == count and seen(b, "x.db") == count and alone(a, "x.db") and alone(b, "x.db"), 60, "the end")
    for n in (a, b):
        all_versions_are_whole(n, "x.db")
        assert n.cli("check", json=True)["ok"]


@test
def one_of_200_mb_is_taken_while_its_program_goes_on():
    a, b = group("a", "b")
    p = Program(a, "x.db", "WAL", most=25, size=4_000_000)
    count = p.count()
    small = sqlite3.connect(path_of(a.folder, "x.db"), timeout=5, isolation_level=None)
    closing(small.close)
    assert os.stat(path_of(a.folder, "x.db")).st_size + os.stat(path_of(a.folder, "x.db-wal")).st_size >= 200_000_000

    def goes_on():
        small.execute("UPDATE a SET n = n WHERE id = 1")
        return exists(b.folder, "x.db")
    wait_until(goes_on, 120, "the database on b, while another program writes")
    assert seen(b, "x.db") == count
    small.close()
    p.end()


@test
def a_damaged_one_is_reported_once_and_taken_when_it_is_closed():
    a, b = group("a", "b")
    bad = b"SQLite format 3\0" + b"x" * 9000
    with open(path_of(a.folder, "x.db"), "wb", buffering=0) as f:
        f.write(bad)
        a.cli("scan")
        wait_until(lambda: a.status()["ignored_errors"] == 1, 20, "the report")
        write(a.folder, "other", b"goes on")
        wait_until(lambda: is_file_with(b.folder, "other", b"goes on"), 20, "another file")
        assert not exists(b.folder, "x.db")
    wait_until(lambda: is_file_with(b.folder, "x.db", bad), 40, "the damaged file as it is")
    wait_until(lambda: a.status()["ignored_errors"] == 0, 20, "no report any more")
    with open(a.log, "rb") as log:
        assert log.read().count(b"SQLite cannot read it") == 1


@test
def names_alone_make_no_database():
    a, b = group("a", "b")
    for name in ("notes", "notes-wal", "notes-shm", "notes-journal", "alone-wal"):
        write(a.folder, name, name.encode())
    same_trees(a, b)
    assert is_file_with(b.folder, "notes-wal", b"notes-wal")
    os.unlink(path_of(b.folder, "notes-shm"))
    same_trees(a, b)
    assert not exists(a.folder, "notes-shm")


def truncating(path, data):
    with open(path, "wb", buffering=0) as f:
        f.write(data[:len(data) // 2])
        yield
        f.write(data[len(data) // 2:])


def appending(path, data):
    with open(path, "ab", buffering=0) as f:
        f.truncate(0)
        f.write(data[:len(data) // 3])
        yield
        f.write(data[len(data) // 3:])


def mapping(path, data):
    with open(path, "r+b", buffering=0) as f:
        memory = mmap.mmap(f.fileno(), len(data))
    memory[:len(data) // 2] = data[:len(data) // 2]     # the descriptor is closed, the mapping is not
    yield
    memory[len(data) // 2:] = data[len(data) // 2:]
    memory.close()


def renaming(path, data):
    with open(path + b".new", "wb", buffering=0) as f:
        f.write(data[:len(data) // 2])
        yield
        f.write(data[len(data) // 2:])
    os.rename(path + b".new", path)


@test
def half_of_a_write_is_never_announced():
    a, b = group("a", "b")
    for i, writer in enumerate((truncating, appending, mapping, renaming)):
        name, old, new = writer.__name__, b"o" * 300_000, b"n" * 300_000
        write(a.folder, name, old)
        wait_until(lambda name=name, old=old: is_file_with(b.folder, name, old), 30, f"{name}: the file")
        at_work = writer(path_of(a.folder, name), new)
        next(at_work)
        a.cli("scan")
        write(a.folder, f"then{i}", b"then")
        wait_until(lambda i=i: is_file_with(b.folder, f"then{i}", b"then"), 30, "what was written later")
        assert is_file_with(b.folder, name, old) and not exists(b.folder, name + ".new"), f"{name}: half of it has arrived"
        assert next(at_work, None) is None
        wait_until(lambda name=name, new=new: is_file_with(b.folder, name, new), 30, f"{name}: all of it")
        same_trees(a, b)
        for v in versions(b, name):
            assert b.cli("cat", name, "--version", v["version"]).raw in (old, new)


if __name__ == "__main__":
    tap.main()
