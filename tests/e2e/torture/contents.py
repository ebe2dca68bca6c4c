"""Contents that differ, of which it is known whether they are whole, who has made them and who has destroyed them."""
import hashlib
import os
import random
import stat
import threading
import time
import zlib


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
