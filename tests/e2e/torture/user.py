"""A user who does the worst a user can do, in the folder of one node."""
import collections
import ctypes
import mmap
import os
import random
import shutil
import threading
import time
import traceback

from torture.contents import contents_beneath, whole

AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2
libc = ctypes.CDLL(None, use_errno=True)


def rename2(old, new, flags):
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)


def moment(seconds):
    """Users and mishaps come at random moments; nothing that is checked depends on how long one is."""
    threading.Event().wait(seconds)


def open_own(full, flags=0):
    """For reading and writing, and never through a link, not even one in the middle: a test must not write outside its folders."""
    real = os.path.realpath(os.path.dirname(full))
    if real != os.path.dirname(os.path.abspath(full)):
        raise OSError(40, "a link is in the way", full)
    return open(os.open(full, os.O_RDWR | os.O_NOFOLLOW | flags, 0o644), "r+b", buffering=0)


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
        """Truncates and writes in pieces. A new file is open from its beginning on: nobody may take it for one that is meant to be empty."""
        self.parent(path)
        with open_own(self.full(path), os.O_CREAT) as f:
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
