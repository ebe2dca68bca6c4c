"""The stage of files that are larger than most disks, and nearly all hole: what takes memory by the byte shows here."""
import os
import time

import data

LOOK_S = 0.25
NAMES = "one", "two"


def huge(job):
    """Two files of so many bytes. The receiver is killed on the way, and goes on."""
    system = job.devices(2)
    os.makedirs(system.folders[0], exist_ok=True)
    content = data.islands(job.path(0, "data"), job.size)
    os.sync()
    seen = Seen(job)
    wire, start = job.wire(), time.monotonic()
    system.start()
    job.until(lambda: seen.fetched() >= content / 2 or one_is_there(job), "half of their data on the other device")
    system.nodes[1].kill9()
    system.start_one(1)
    seen.last = 0               # what has come since the start
    job.arrived("data", lambda: seen.fetched() >= 0)
    took = time.monotonic() - start
    job.calm()
    job.give("huge", "rate", 2 * job.size / took / 1e6, "MB/s")
    job.give("huge", "memory", seen.memory / 1e6, "MB")
    job.give("huge", "steps back", seen.back, "times that the progress shrank")
    job.give("huge", "wire", wire(content), "bytes a byte of data")
    job.give("huge", "disk", sum(os.lstat(job.path(1, f"data/{n}")).st_blocks * 512 for n in NAMES) / content, "bytes a byte of data")


def one_is_there(job):
    return any(os.path.exists(job.path(1, f"data/{n}")) for n in NAMES)


class Seen:
    """What the receiver says of its progress, and the most memory that a device took meanwhile."""

    def __init__(self, job):
        self.job, self.memory, self.back, self.last, self.looked = job, 0, 0, 0, 0

    def fetched(self):
        """Bytes that have come since the receiver was started."""
        now = time.monotonic()
        if now - self.looked >= LOOK_S:
            self.looked = now
            self.memory = max(self.memory, *self.job.system.rss())
            fetched = self.job.system.nodes[1].status()["fetched"]["bytes"]
            self.back += fetched < self.last
            self.last = fetched
        return self.last
