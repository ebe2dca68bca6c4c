"""SQLite databases: programs use them all the time, and what arrives elsewhere is always a whole state of them."""
import os
import sqlite3
import subprocess
import sys
import tempfile

from lanyard import closing, exists, group, path_of, tap, test, wait_until

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
    b.settle()
    assert all_versions_are_whole(b, "x.db")[0] == n
    assert no_parts(b, "x.db") and not any(versions(a, "x.db" + s) for s in ("-wal", "-shm", "-journal"))


@test
def one_with_a_log_that_is_written_all_the_time_arrives_whole():
    written_all_the_time("WAL")


@test
def one_with_journals_that_is_written_all_the_time_arrives_whole():
    written_all_the_time("DELETE")


if __name__ == "__main__":
    tap.main()
