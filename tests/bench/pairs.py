"""The stages of two devices, one of which has something that the other gets: one large file, many small ones."""
import math
import os
import random
import statistics
import time

import data
import meters
from data import Watch

IDLE_S, SETTLED_S, QUICK_IDLE_S = 20, 15, 4
SAVES, FEWEST_SAVES, SAVES_S, QUICK_SAVES_S = 400, 5, 20, 4
CHANGED = 1000                  # bytes of a file that is saved


def transfer(job, make, row):
    """From the start of both devices to equal trees. Gives what the row of this stage is about. Returns the seconds."""
    system = job.devices(2)
    os.makedirs(system.folders[0], exist_ok=True)
    job.shelf.take(make, job.size, job.path(0, "data"))
    sent = sum(os.lstat(os.path.join(place, n)).st_size for place, _, names in os.walk(job.path(0, "data")) for n in names)
    wire, start = job.wire(), time.monotonic()
    system.start()
    job.arrived("data")
    took = time.monotonic() - start
    cpu = system.cpu()
    job.give(row, "time", took, "s")
    job.calm()
    job.give(row, "wire", wire(sent), "bytes a byte")
    job.give(row, "cpu sender", 1e9 * cpu[0] / sent, "s/GB")
    job.give(row, "cpu receiver", 1e9 * cpu[1] / sent, "s/GB")
    data.same_contents(job.path(0, "data"), job.path(1, "data"))
    return took


# ---- one large file ----

def bulk(job):
    took = transfer(job, data.one_file, "big")
    job.give("big", "speed", job.size / took / 1e6, "MB/s")
    changed = False
    if job.wants("rename") and job.system.watches:
        rename(job)
    if job.wants("insert"):
        insert(job)
        changed = True
    job.end()
    if not changed:
        job.shelf.put_back(data.one_file, job.size, job.path(0, "data"))


def rename(job):
    """There and back: the second one is as good a rename as the first."""
    for old, new in ("data/big", "data/renamed"), ("data/renamed", "data/big"):
        job.calm()
        reads, wire, start = data.Reads(*(job.path(i, "data") for i in (0, 1))), job.wire(), time.monotonic()
        os.rename(job.path(0, old), job.path(0, new))
        job.arrived("data", lambda old=old: not os.path.exists(job.path(1, old)))
        took = time.monotonic() - start
        job.calm()
        job.give("rename", "time", took, "s")
        job.give("rename", "contents read", reads.count(), "files")
        job.give("rename", "wire", wire(), "bytes")


def insert(job):
    stage = os.path.join(job.base, "stage")
    data.copy_with_a_byte_more(job.path(0, "data/big"), stage, job.size // 3)
    os.sync()
    job.calm()
    wire, start = job.wire(), time.monotonic()
    os.rename(stage, job.path(0, "data/big"))
    job.system.sync()
    job.arrived("data")
    took = time.monotonic() - start
    job.calm()
    job.give("insert", "time", took, "s")
    job.give("insert", "wire", wire(), "bytes")
    data.same_contents(job.path(0, "data"), job.path(1, "data"))


# ---- many small files ----

def files(job):
    took = transfer(job, data.small_files, "small")
    job.give("small", "speed", job.size / took, "files/s")
    if job.wants("idle") and job.system.watches:
        idle(job)
    if job.wants("latency"):
        latency(job)
    if job.wants("move"):
        move(job)
    job.end()
    undo(job)
    job.shelf.put_back(data.small_files, job.size, job.path(0, "data"))


def undo(job):
    """What latency and move have changed."""
    if os.path.exists(job.path(0, "data/note")):
        os.unlink(job.path(0, "data/note"))
    if os.path.exists(job.path(0, "data/moved")):
        os.rename(job.path(0, "data/moved"), job.path(0, "data/part0"))


def idle(job):
    """Memory, index, and what two devices do that have nothing to do, and have done what they do when they are idle at last."""
    system = job.system
    job.calm()
    settle(job)
    start, used, written = time.monotonic(), system.cpu(), on_disk(system)
    job.pause(QUICK_IDLE_S if job.quick else IDLE_S)
    took = time.monotonic() - start
    job.give("idle", "cpu", 100 * max(b - a for a, b in zip(used, system.cpu())) / took, "% of a core")
    job.give("idle", "disk", max(b - a for a, b in zip(written, on_disk(system))), "bytes written")
    job.give("idle", "memory", max(system.rss()) / 1e6, "MB")
    job.give("idle", "index", max(system.index_size(i) for i in range(2)) / job.size, "bytes a file")


def on_disk(system):
    return [meters.written(p.pid) for p in system.processes]


def settle(job):
    """Until nothing has been written for a while; whoever never stops is measured as he is."""
    last, end = [time.monotonic(), on_disk(job.system)], time.monotonic() + SETTLED_S * 6

    def quiet():
        now = time.monotonic()
        written = on_disk(job.system)
        if written != last[1]:
            last[:] = now, written
        return now - last[0] > (QUICK_IDLE_S if job.quick else SETTLED_S) or now > end
    job.until(quiet, "nothing is written any more")


def latency(job):
    """Every save waits for the one before. As many as fit the time; the first one makes the file, and does not count."""
    rand, times, target = random.Random(3), [], job.path(1, "data/note")
    job.calm()
    watch, wire, began = Watch(job.path(1, "data")), job.wire(), time.monotonic()

    def shows(text):
        try:
            with open(target, "rb") as f:
                return f.read() == text
        except FileNotFoundError:
            return False
    for i in range(SAVES + 1):
        if i > FEWEST_SAVES and time.monotonic() - began > (QUICK_SAVES_S if job.quick else SAVES_S):
            break
        text = rand.randbytes(CHANGED + i)
        start = time.monotonic()
        with open(job.path(0, "data/note"), "wb") as f:
            f.write(text)
        job.system.sync()
        watch.until(lambda text=text: shows(text), 120, "the saved file on the other device")
        times.append(1000 * (time.monotonic() - start))
        if not job.system.watches:
            job.system.processes[-1].wait()
    watch.close()
    job.give("latency", "wire", wire(len(times)), "bytes a save")
    job.give("latency", "median", statistics.median(times[1:]), "ms")
    job.give("latency", "99th", percentile(times[1:], 99), "ms")


def percentile(values, percent):
    """By nearest rank: the least one that so many percent of them do not exceed."""
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


def move(job):
    """A fifth of all files, by the rename of their directory."""
    moved = sum(1 for i in range(job.size) if data.part_of(i, job.size) == 0)
    job.calm()
    reads = data.Reads(*(job.path(i, "data/part0") for i in (0, 1)))
    wire, start = job.wire(), time.monotonic()
    os.rename(job.path(0, "data/part0"), job.path(0, "data/moved"))
    job.system.sync()
    job.arrived("data/moved", lambda: not job.system.watches or not os.path.exists(job.path(1, "data/part0")))
    took = time.monotonic() - start
    job.calm()
    job.give("move", "time", took, "s")
    job.give("move", "wire", wire(moved), "bytes a file")
    job.give("move", "contents read", reads.count(), "files")
