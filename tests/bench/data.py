"""Trees that are made, moved from one run to the next, and compared. Contents are random (incompressible) and follow from a seed."""
import ctypes
import os
import random
import select
import struct
import time

from lanyard import Failed, sha256

PIECE = 16 << 20
PARTS = 5                       # top directories of a tree of small files: one of them is moved
IN_DIRECTORY = 100


def one_file(folder, size):
    """FOLDER/big of so many bytes."""
    rand = random.Random(1)
    os.makedirs(folder)
    with open(os.path.join(folder, "big"), "wb") as f:
        left = size
        while left:
            left -= f.write(rand.randbytes(min(left, PIECE)))


def part_of(i, count):
    """The part in which file i of `count` lies."""
    return i * PARTS // count


def small_files(folder, count):
    """`count` files of 200 to 8,000 bytes, 100 in a directory, in PARTS parts."""
    rand, place = random.Random(2), None
    for i in range(count):
        here = os.path.join(folder, f"part{part_of(i, count)}", f"d{i // IN_DIRECTORY:05}")
        if here != place:
            os.makedirs(here)
            place = here
        with open(os.path.join(here, f"file{i}"), "wb") as f:
            f.write(rand.randbytes(rand.randint(200, 8000)))


def equal_files(folder, total, files, seed):
    """`total` bytes in so many files; other contents for another seed."""
    rand = random.Random(seed)
    os.makedirs(folder)
    for i in range(files):
        with open(os.path.join(folder, f"part{i:04}"), "wb") as f:
            f.write(rand.randbytes(total // files))


def islands(folder, size):
    """Two files of so many bytes that are nearly all hole: a MiB of data in each GB. Returns the bytes that are data."""
    os.makedirs(folder)
    step, island, data = 1_000_000_000, 1 << 20, 0
    for name in "one", "two":
        rand = random.Random(name)
        with open(os.path.join(folder, name), "wb") as f:
            for at in range(0, max(size - island, 1), step):
                f.seek(at)
                data += f.write(rand.randbytes(min(island, size)))
            f.truncate(size)
    return data


class Shelf:
    """Trees that were made once and are handed from run to run, by a rename. A run that has changed one does not put it back."""

    def __init__(self, base):
        self.base = base

    def _place(self, make, size):
        return os.path.join(self.base, f"{make.__name__}.{size}")

    def take(self, make, size, target):
        """What make(target, size) makes is at `target` when this returns, and on the disk."""
        place = self._place(make, size)
        if os.path.exists(place):
            os.rename(place, target)
        else:
            make(target, size)
        os.sync()

    def put_back(self, make, size, target):
        os.rename(target, self._place(make, size))


class Arrival:
    """Whether a tree is there in full. Looks at one directory after the other and never again at one that was complete, so that
    asking costs nearly nothing."""

    def __init__(self, source, target):
        self.pending = []
        for place, dirs, _ in os.walk(source):
            dirs.sort()
            self.pending.append((os.path.join(target, os.path.relpath(place, source)), self.listing(place)))
        self.pending.reverse()

    @staticmethod
    def listing(place):
        with os.scandir(place) as entries:
            found = {}
            for entry in entries:
                st = entry.stat(follow_symlinks=False)
                found[entry.name] = entry.is_dir() or (st.st_size, st.st_mtime_ns)
            return found

    def complete(self):
        while self.pending:
            place, wanted = self.pending[-1]
            try:
                if self.listing(place) != wanted:
                    return False
            except FileNotFoundError:
                return False
            self.pending.pop()
        return True


def same_contents(left, right):
    for place, _, names in os.walk(left):
        for name in names:
            path = os.path.join(place, name)
            if sha256(path) != sha256(os.path.join(right, os.path.relpath(path, left))):
                raise Failed(f"{path} differs from its copy")


def copy_with_a_byte_more(path, target, at):
    """As an editor saves: the file with a byte inserted at `at`, whole, under another name."""
    with open(path, "rb") as old, open(target, "wb") as new:
        left = at
        while left:
            left -= new.write(old.read(min(left, PIECE)))
        new.write(b"!")
        while piece := old.read(PIECE):
            new.write(piece)


class Inotify:
    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def add(self, path, events):
        if self.libc.inotify_add_watch(self.fd, os.fsencode(path), events) < 0:
            raise OSError(ctypes.get_errno(), f"inotify: {path}")

    def close(self):
        os.close(self.fd)


class Reads(Inotify):
    """Which files are read, whatever they are called by then: of very many every n-th is looked at, since the kernel gives us only so many
    watches. Of very many at once some may be missed."""
    ACCESS, MOST = 0x1, 100_000
    EVENT = struct.Struct("iIII")

    def __init__(self, *folders):
        super().__init__()
        files = [os.path.join(place, name) for folder in folders for place, _, names in os.walk(folder) for name in names]
        self.step = -(-len(files) // self.MOST) or 1
        for path in files[::self.step]:
            self.add(path, self.ACCESS)

    def count(self):
        """How many have been read. Ends it."""
        seen = set()
        try:
            while found := os.read(self.fd, 1 << 16):
                seen.update(watch for watch, mask, _, _ in self.EVENT.iter_unpack(found) if mask & self.ACCESS)
        except BlockingIOError:
            pass
        self.close()
        return len(seen) * self.step


class Watch(Inotify):
    """Waits for something to happen to a directory's entries: nothing is polled while a latency is measured."""
    EVENTS = 0x2 | 0x8 | 0x80 | 0x100         # modify, close after writing, moved to, create

    def __init__(self, folder):
        super().__init__()
        self.add(folder, self.EVENTS)

    def until(self, cond, deadline, what):
        end = time.monotonic() + deadline
        while not cond():
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise Failed(f"not within {deadline} s: {what}")
            os.read(self.fd, 1 << 12)
