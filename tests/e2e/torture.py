#!/usr/bin/env python3
"""Three nodes, a user at each who does the worst a user can do, and an oracle that knows every content that was ever complete.

    torture.py SEED SECONDS [kill] [pause] [index]       (which mishaps; default: kill pause)

Every content is a run of records that carry their own checksum, so a torn one shows by itself. What a user destroys (overwrites, deletes) is
looked at as it is destroyed. In the end there is quiet, and then
  * the trees are equal and nothing in them is torn,
  * no device has ever shown a torn content that its user has not made,
  * every content that was complete once and that no user destroyed can be had: live, or by `lanyard log` and `lanyard cat --version`,
  * also one that was destroyed, if it had been stable for STABLE seconds among connected nodes.
Prints the seed and what is wrong; exit code 1 if something is. The sequence of operations follows from the seed; their timing does not."""
import collections
import ctypes
import hashlib
import mmap
import os
import random
import shutil
import stat
import sys
import threading
import time
import traceback
import zlib

import lanyard

STABLE = 4.0 * lanyard.SLOW    # seconds among connected nodes after which a content must be safe from its own user, too
LOOK = 0.4              # seconds between two looks at everything
CHECKED = 80            # old versions that are read through the program, in each run
AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2
libc = ctypes.CDLL(None, use_errno=True)


def rename2(old, new, flags):
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)


def moment(seconds):
    """Users and mishaps come at random moments; nothing that is checked depends on how long one is."""
    threading.Event().wait(seconds)


# ---- contents ----

class Contents:
    """Makes contents that differ, and knows those that were complete."""

    def __init__(self, seed):
        self.rand, self.number, self.lock = random.Random(f"contents {seed}"), 0, threading.Lock()
        self.made = {}                      # digest: (number, size, node, path, when)
        self.destroyed = {}                 # digest: (node, path, when)
        self.torn = []

    def record(self, size=None):
        """One record; mostly small, so that both inline and stored contents come up."""
        with self.lock:
            self.number += 1
            number = self.number
            size = size or self.rand.choice((20, 200, 3000, 40_000)) + self.rand.randrange(3000)
            body = self.rand.randbytes(size)
        return b"R %08d %08d %08x\n" % (number, len(body), zlib.crc32(body)) + body

    def complete(self, data, node, path):
        self.made.setdefault(digest(data), (int(data[2:10]), len(data), node.name, path, time.monotonic()))

    def destroy(self, data, node, path, own=False):
        """`own`: the user is at it and has it half-written."""
        if not whole(data):
            if not own:
                self.torn.append((node.name, path, data[:60], len(data)))
            return
        self.destroyed[digest(data)] = (node.name, path, time.monotonic())


def digest(data):
    return hashlib.sha256(data).digest()


def whole(data):
    at = 0
    while at < len(data):
        head = data[at:at + 29]
        if len(head) < 29 or head[:2] != b"R " or head[28:] != b"\n":
            return False
        size, crc = int(head[11:19]), int(head[20:28], 16)
        body = data[at + 29:at + 29 + size]
        if len(body) != size or zlib.crc32(body) != crc:
            return False
        at += 29 + size
    return len(data) > 0


def contents_beneath(top):
    """(path, bytes) of the files beneath; what moves meanwhile may be missed."""
    if os.path.islink(top):
        return
    if os.path.isfile(top):
        try:
            with open(top, "rb") as f:
                yield top, f.read()
        except OSError:
            pass
        return
    for place, dirs, names in os.walk(top):
        if ".lanyard" in dirs:
            dirs.remove(".lanyard")
        for name in names:
            full = os.path.join(place, name)
            try:
                fd = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            if not stat.S_ISREG(os.fstat(fd).st_mode):      # a directory by now
                os.close(fd)
                continue
            with open(fd, "rb") as f:
                yield full, f.read()


# ---- a user ----

def open_own(full):
    """For reading and writing, and never through a link, not even one in the middle: a test must not write outside its folders."""
    real = os.path.realpath(os.path.dirname(full))
    if real != os.path.dirname(os.path.abspath(full)):
        raise OSError(40, "a link is in the way", full)
    return open(os.open(full, os.O_RDWR | os.O_NOFOLLOW), "r+b", buffering=0)


class User(threading.Thread):
    """Works in the folder of one node. Nobody else does but the node, so what is torn there between two operations, the node tore."""

    NAMES = ["f0", "f1", "f2", "f3", "f4", "x0", "x1"]
    DIRS = ["", "d0/", "d1/", "d0/e/", "x0/", "x1/", "d2/"]

    def __init__(self, node, seed, contents, until):
        super().__init__(daemon=True)
        self.node, self.contents, self.until = node, contents, until
        self.root = os.path.realpath(node.folder)
        self.rand = random.Random(f"user {seed} {node.name}")
        self.grave = node.folder + ".grave"     # beside the folder: what the user removes is looked at there
        os.makedirs(self.grave, exist_ok=True)
        self.graves, self.done, self.failure = 0, collections.Counter(), None
        self.open = []                          # files left open for writing: (file, path, due)
        self.log = collections.deque(maxlen=4000)

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.step()
                moment(self.rand.choice((0, 0, 0.01, 0.05, 0.1, 0.7)) * self.rand.random())
            for f, path, _ in self.open:
                self.finish(f, path)
        except Exception:                       # the harness itself has failed
            self.failure = traceback.format_exc()

    def step(self):
        due = [o for o in self.open if o[2] <= time.monotonic()]
        self.open = [o for o in self.open if o not in due]
        for f, path, _ in due:
            self.finish(f, path)
        op = self.rand.choice(self.OPS)
        path = self.some()
        try:
            getattr(self, op)(path)
            self.done[op] += 1
            self.log.append((time.time(), op, path))
        except OSError as e:                    # what is there is not what the operation needs
            self.log.append((time.time(), op, path, e.strerror))

    def full(self, path):
        return os.path.join(self.root, path)

    def some(self):
        return self.rand.choice(self.DIRS) + self.rand.choice(self.NAMES)

    def parent(self, path):
        os.makedirs(os.path.dirname(self.full(path)), exist_ok=True)

    def tomb(self):
        self.graves += 1
        return os.path.join(self.grave, str(self.graves))

    def bury(self, tomb, path):
        for _, data in contents_beneath(tomb):
            self.contents.destroy(data, self.node, path, own=self.is_open(tomb))
        if os.path.isdir(tomb) and not os.path.islink(tomb):
            shutil.rmtree(tomb)
        else:
            os.unlink(tomb)

    def is_open(self, full):
        try:
            ino = os.lstat(full).st_ino
        except OSError:
            return False
        return any(os.fstat(f.fileno()).st_ino == ino for f, _, _ in self.open) or os.path.isdir(full)

    # operations

    def save(self, path, data=None):
        """As an editor does: a new file renamed over the old one; the old one is caught."""
        data = data or self.contents.record()
        self.parent(path)
        tomb = self.tomb()
        with open(tomb, "wb") as f:
            f.write(data)
        try:
            rename2(tomb, self.full(path), NOREPLACE)
        except FileExistsError:
            if os.path.isdir(self.full(path)) and not os.path.islink(self.full(path)):
                os.unlink(tomb)
                return
            rename2(tomb, self.full(path), EXCHANGE)
            self.contents.complete(data, self.node, path)
            self.bury(tomb, path)
            return
        self.contents.complete(data, self.node, path)

    def quick_saves(self, path):
        for _ in range(self.rand.randrange(3, 25)):
            self.save(path)

    def rewrite(self, path):
        """Truncates and writes in pieces."""
        self.parent(path)
        os.close(os.open(self.full(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644))
        with open_own(self.full(path)) as f:
            old = f.read()
            data = self.contents.record()
            f.seek(0)
            f.truncate(0)
            if old:
                self.contents.destroy(old, self.node, path, own=self.is_open(self.full(path)))
            for i in range(0, len(data), max(1, len(data) // 3)):
                f.write(data[i:i + max(1, len(data) // 3)])
                moment(self.rand.choice((0, 0.002, 0.03)))
            self.contents.complete(data, self.node, path)

    def append(self, path):
        with open_own(self.full(path)) as f:
            self.append_to(f, path)

    def append_to(self, f, path):
        f.seek(0)
        old = f.read()
        more = self.contents.record()
        f.write(more)
        if old:
            self.contents.destroy(old, self.node, path)
        if whole(old) or not old:
            self.contents.complete(old + more, self.node, path)

    def map_edit(self, path):
        """A record of the same size, written through a mapping."""
        with open_own(self.full(path)) as f:
            old = f.read()
            if len(old) < 60 or not whole(old):
                return
            data = self.contents.record(len(old) - 29)
            with mmap.mmap(f.fileno(), len(old)) as m:
                m[:] = data
            self.contents.destroy(old, self.node, path)
            self.contents.complete(data, self.node, path)

    def leave_open(self, path):
        """Opened for writing, and written to only later."""
        if len(self.open) < 3 and not self.is_open(self.full(path)):
            self.open.append((open_own(self.full(path)), path, time.monotonic() + self.rand.random() * 3))

    def finish(self, f, path):
        with f:
            if os.fstat(f.fileno()).st_nlink:
                self.append_to(f, path)
                self.log.append((time.time(), "finish", path))

    def remove(self, path):
        tomb = self.tomb()
        os.rename(self.full(path), tomb)
        self.bury(tomb, path)

    def remove_tree(self, _):
        self.remove(self.rand.choice(self.DIRS[1:]).rstrip("/"))

    def move(self, path):
        to = self.some()
        self.parent(to)
        self.move_to(path, to)

    def move_to(self, path, to):
        try:
            rename2(self.full(path), self.full(to), NOREPLACE)
        except FileExistsError:
            tomb = self.tomb()
            os.rename(self.full(to), tomb)
            self.bury(tomb, to)
            rename2(self.full(path), self.full(to), NOREPLACE)

    def move_dir(self, _):
        dirs = [d.rstrip("/") for d in self.DIRS[1:]]
        old, new = self.rand.choice(dirs), self.rand.choice(dirs + ["d2/m", "d1/n/o"])
        self.parent(new)
        rename2(self.full(old), self.full(new), NOREPLACE)

    def swap(self, path):
        rename2(self.full(path), self.full(self.some()), EXCHANGE)

    def chain(self, _):
        names = self.rand.sample(self.NAMES, 4)
        for old, new in zip(names, names[1:]):
            try:
                self.move_to(old, new)
            except OSError:
                pass

    def round_trip(self, path):
        """Away and back, quickly."""
        tomb = self.tomb()
        os.rename(self.full(path), tomb)
        moment(self.rand.choice((0, 0.02, 0.1)))
        try:
            rename2(tomb, self.full(path), NOREPLACE)
        except OSError:
            self.bury(tomb, path)

    def become_link(self, path):
        tomb = self.tomb()
        self.parent(path)
        os.symlink(self.rand.choice(("f0", "../f1", "nowhere", "/nonexistent/of/all", "d0")), tomb)
        try:
            rename2(tomb, self.full(path), NOREPLACE)
        except FileExistsError:
            rename2(tomb, self.full(path), EXCHANGE)
            self.bury(tomb, path)

    def become_dir(self, path):
        try:
            self.remove(path)
        except FileNotFoundError:
            pass
        self.save(path + "/f0")

    def become_file(self, _):
        path = self.rand.choice(("x0", "x1", "d0/x0"))
        try:
            self.remove(path)
        except FileNotFoundError:
            pass
        self.save(path)

    def remake(self, path):
        self.remove(path)
        self.save(path)

    def hard_link(self, path):
        os.link(self.full(path), self.full(self.some()), follow_symlinks=False)

    def copies(self, path):
        with open(self.full(path), "rb") as f:
            data = f.read()
        if whole(data):
            for _ in range(4):
                self.save(self.some(), data)

    def other_time(self, path):
        when = 10**9 * self.rand.choice((10**9, 1_700_000_000, int(time.time()), int(time.time()) + 3))
        os.utime(self.full(path), ns=(when, when), follow_symlinks=False)

    def other_mode(self, path):
        if not os.path.islink(self.full(path)):
            os.chmod(self.full(path), self.rand.choice((0o644, 0o600, 0o755)) if os.path.isfile(self.full(path)) else 0o755)

    def look(self, path):
        """What lies there is whole: nobody but us writes here, and we are not at it."""
        with open(os.open(self.full(path), os.O_RDONLY | os.O_NOFOLLOW), "rb") as f:
            data = f.read()
        if not whole(data):
            self.contents.torn.append((self.node.name, path, data[:60], len(data)))

    OPS = (["save"] * 8 + ["rewrite"] * 5 + ["append"] * 5 + ["map_edit"] * 3 + ["remove"] * 4 + ["move"] * 5 + ["look"] * 10 +
           ["quick_saves", "leave_open", "remove_tree", "move_dir", "move_dir", "swap", "swap", "chain", "round_trip", "become_link",
            "become_dir", "become_file", "remake", "remake", "hard_link", "copies", "other_time", "other_mode"])


# ---- mishaps ----

class Mishaps(threading.Thread):
    def __init__(self, nodes, seed, until, kinds):
        super().__init__(daemon=True)
        self.nodes, self.until, self.kinds = nodes, until, kinds
        self.rand = random.Random(f"mishaps {seed}")
        self.away = {n.name: 0.0 for n in nodes}    # until when the node counts as absent
        self.failure = None

    def run(self):
        try:
            while self.kinds and time.monotonic() < self.until:
                moment(self.rand.random() * 1.5)
                node, kind = self.rand.choice(self.nodes), self.rand.choice(self.kinds)
                self.away[node.name] = float("inf")
                getattr(self, kind)(node)
                self.away[node.name] = time.monotonic() + 2
        except Exception:
            self.failure = traceback.format_exc()

    def up(self, node):
        node.up(peers=[n for n in self.nodes if n is not node])

    def kill(self, node):
        node.kill9()
        moment(self.rand.choice((0, 0, 0.3, 2)))
        self.up(node)

    def pause(self, node):
        node.cli("pause")
        moment(self.rand.random() * 2)
        node.cli("resume")

    def index(self, node):
        node.kill9()
        for name in os.listdir(node.home):
            if name.startswith("index"):
                os.unlink(os.path.join(node.home, name))
        self.up(node)


# ---- the oracle ----

class Watcher(threading.Thread):
    """Which contents lay still on a device, and for how long while it was connected."""

    def __init__(self, nodes, mishaps, until):
        super().__init__(daemon=True)
        self.nodes, self.mishaps, self.until = nodes, mishaps, until
        self.longest = collections.Counter()        # digest: seconds
        self.seen = {}                              # digest: where last
        self.failure = None

    def run(self):
        try:
            self.watch()
        except Exception:
            self.failure = traceback.format_exc()

    def watch(self):
        since = {n.name: {} for n in self.nodes}
        while time.monotonic() < self.until:
            now = time.monotonic()
            present = [n for n in self.nodes if self.mishaps.away[n.name] < now]
            for n in self.nodes:
                here = {digest(data): path for path, data in contents_beneath(n.folder)}
                self.seen.update(here)
                connected = n in present and len(present) > 1
                since[n.name] = {d: since[n.name].get(d, now) for d in here} if connected else {}
                for d, start in since[n.name].items():
                    self.longest[d] = max(self.longest[d], now - start)
            moment(LOOK)


def versions_by_size(nodes):
    """{size: [(node, row)]} of all versions that a node says can be had."""
    rows = collections.defaultdict(list)
    for n in nodes:
        for row in n.cli("log", "--limit", 10000, json=True):
            if row["kind"] == "file" and row["available"] == "here":
                rows[row["size"]].append((n, row))
    return rows


def kept(nodes):
    """{digest: file} of what is in kept/."""
    found = {}
    for n in nodes:
        for path, data in contents_beneath(os.path.join(n.folder, ".lanyard/kept")):
            found[digest(data)] = path
    return found


def available(d, size, rows):
    """Read through the program; the reason when it cannot be had."""
    said = []
    for n, row in rows.get(size, ()):
        path = row["path"] if isinstance(row["path"], str) else bytes.fromhex(row["path"]["hex"])
        done = n.cli("cat", "--version", row["version"], path, check=False)
        if done.code == 0 and digest(done.raw) == d:
            return True
        said.append(f"{n.name}: cat {path} --version {row['version']}: exit {done.code} {done.err.strip()}")
    return said


def quiet(nodes, wrong, kinds, timeout=40):
    """A content that its user destroyed before anybody had fetched it is waited for in vain when its author has forgotten, with its index,
    that it was destroyed. All else must come to rest."""
    for n in nodes:
        if not n.running():
            n.up(peers=[m for m in nodes if m is not n])
        n.cli("resume", check=False)
    try:
        for n in nodes:
            n.cli("scan")
            done = n.cli("wait", "--timeout", int(timeout * lanyard.SLOW), "--peers", len(nodes) - 1, check=False, timeout=timeout + 30)
            if done.code and "index" not in kinds:
                wrong.append(f"NO QUIET {n.name}: {done.err}")
        lanyard.same_trees(*nodes, timeout=timeout)
    except lanyard.Failed as e:
        wrong.append(f"NO QUIET {e}")


def find_lost(nodes, contents, watcher, wrong, rand):
    live = {digest(data) for n in nodes for _, data in contents_beneath(n.folder)}
    for n in nodes:
        for path, data in contents_beneath(n.folder):
            if not whole(data):
                wrong.append(f"TORN AT THE END {path}: {data[:40]}")
    files, rows = kept(nodes), versions_by_size(nodes)
    old = [d for d in contents.made if d not in live]
    rand.shuffle(old)
    looked = soft = 0
    for d in old:
        number, size, name, path, _ = contents.made[d]
        destroyed = contents.destroyed.get(d)
        must = not destroyed or watcher.longest[d] >= STABLE
        if d in files and size in rows and looked >= CHECKED:
            continue
        if not must and d not in files:
            soft += 1
            continue
        looked += 1
        said = available(d, size, rows)
        if said is not True:
            kind = "UNLISTED" if d in files else "LOST"
            wrong.append(f"{kind} content {number} of {size} bytes, made by {name} at {path}; destroyed {destroyed}; stable for "
                         f"{watcher.longest[d]:.1f} s; last at {watcher.seen.get(d)}; kept {files.get(d)}; {said}")
    return len(old), looked, soft


def torture(seed, seconds, kinds=("kill", "pause")):
    """Returns what is wrong, as lines."""
    nodes, wrong = lanyard.group("a", "b", "c"), []
    contents, until = Contents(seed), time.monotonic() + seconds
    mishaps = Mishaps(nodes, seed, until - 1, kinds)
    watcher = Watcher(nodes, mishaps, until)
    users = [User(n, seed, contents, until) for n in nodes]
    threads = [*users, mishaps, watcher]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wrong += [f"HARNESS {t.failure}" for t in threads if t.failure]
    quiet(nodes, wrong, kinds)
    wrong += [f"TORN {t}" for t in contents.torn]
    old, looked, soft = find_lost(nodes, contents, watcher, wrong, random.Random(seed))
    lanyard.comment(f"seed {seed}: {sum(sum(u.done.values()) for u in users)} operations, {len(contents.made)} contents, {old} not live, "
                    f"{looked} of them read, {soft} destroyed young by their user; {len(wrong)} wrong")
    return wrong, users


def main():
    seed, seconds, kinds = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:] or ["kill", "pause"]
    try:
        wrong, users = torture(seed, seconds, [] if kinds == ["none"] else kinds)
        for line in wrong:
            print(line)
        if wrong and os.environ.get("KEEP"):
            lanyard.report()
            for u in users:
                for line in u.log:
                    print("OP", u.node.name, *line)
            for n in lanyard._test_lab.nodes:
                n.kill9()
            shutil.copytree(lanyard._test_lab.base, os.environ["KEEP"], symlinks=True, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("control.sock"))
        print(f"seed {seed}: {'FAILED' if wrong else 'ok'}")
    finally:
        lanyard.close()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
