"""The stages of many devices on this machine: all receive the same, one change goes to all, a version is required of all.

What Lanyard itself counts as `served` is what a device has sent of contents."""
import datetime
import os
import re
import time

import data
import meters

RECEIVERS = 7
CAP = 20_000_000                # bytes a second that each device may send
FILE_BYTES = 1_000_000
REQUIRED_BYTES = 50_000_000
IDLE_S, SETTLE_S, QUICK_IDLE_S = 20, 15, 4
CHANGES = 5
LINE = re.compile(r"^(\S+Z) info (control log has grown|locked by=|unlocked why=\"reached\")", re.M)


def running(job, count):
    system = job.devices(count)
    system.start()
    job.until(system.connected, "all devices are connected")
    return system


# ---- swarm ----

def swarm(job):
    """The size is in bytes. Once without limits, once with a cap on what each may send; as one file, and as files of a MB."""
    system = running(job, RECEIVERS + 1)
    many = max(2, job.size // FILE_BYTES)
    for files in 1, many:
        took, served = spread(job, files)
        job.give("swarm", f"time, {'one file' if files == 1 else 'many files'}", took, "s")
        job.give("swarm", f"sent by the first, {'one file' if files == 1 else 'many files'}", served, "copies")
    job.give("swarm", "memory", max(system.rss()) / 1e6, "MB")
    if job.kind.name != "lanyard":
        return
    system.stop()
    for node in system.nodes:
        node.cli("config", "set", "rate.up", str(CAP))
    system.start()
    job.until(system.connected, "all devices are connected")
    took, served = spread(job, many, "capped")
    job.give("swarm", "time, capped", took / (job.size / CAP), "times one copy")
    job.give("swarm", "sent by the first, capped", served, "copies")


def spread(job, files, name="free"):
    """Seconds until all have what appears on the first device, and how many copies that one has sent."""
    stage, name = os.path.join(job.base, "stage"), f"{name}{files}"
    data.equal_files(stage, job.size, files, name)
    os.sync()
    job.calm()
    before, start = served_by(job), time.monotonic()
    os.rename(stage, job.path(0, name))
    job.arrived(name)
    took = time.monotonic() - start
    return took, None if before is None else (served_by(job) - before) / job.size


def served_by(job):
    return job.system.nodes[0].status()["served"] if job.kind.name == "lanyard" else None


# ---- devices ----

def devices(job):
    """The size is the number of devices. First one small change, then nothing, then a required version."""
    start = time.monotonic()
    system = running(job, job.size)
    job.give("devices", "connected", time.monotonic() - start, "s")
    if job.wants("devices"):
        for i in range(CHANGES):
            job.give("devices", "visible", 1000 * seen_by_all(job, f"note{i}"), "ms")
        idle(job)
    if job.wants("require"):
        require(job)


def seen_by_all(job, name):
    job.calm()
    start = time.monotonic()
    with open(job.path(0, name), "wb") as f:
        f.write(b"a small change\n")
    left = set(range(job.system.count))

    def seen():
        left.difference_update([i for i in left if os.path.exists(job.path(i, name))])
        return not left
    job.until(seen, "the change on all devices")
    return time.monotonic() - start


def idle(job):
    system = job.system
    job.pause(QUICK_IDLE_S if job.quick else SETTLE_S)
    start, used = time.monotonic(), sum(system.cpu())
    job.pause(QUICK_IDLE_S if job.quick else IDLE_S)
    took = time.monotonic() - start
    job.give("devices", "cpu of all", 100 * (sum(system.cpu()) - used) / took, "% of a core")
    job.give("devices", "memory", max(system.rss()) / 1e6, "MB")


# ---- require ----

def require(job):
    """What the devices' own logs say, to the millisecond: from the record until the last device is locked, and has the version."""
    nodes = job.system.nodes
    origin, others = nodes[0], nodes[1:]
    marks = {n: os.path.getsize(n.log) for n in nodes}
    # Written where nobody looks, and moved there just before: so nothing of it has come over before the record.
    stage, before = os.path.join(job.base, "required"), served_by(job)
    data.equal_files(stage, REQUIRED_BYTES, REQUIRED_BYTES // FILE_BYTES, "required")
    os.rename(stage, job.path(0, "required"))
    origin.cli("require", timeout=600)
    start = said(origin, marks[origin])["control log has grown"]
    job.give("require", "all locked", last_said(job, others, marks, "locked by=") - start, "s")
    job.give("require", "all have it", last_said(job, others, marks, 'unlocked why="reached"') - start, "s")
    job.give("require", "sent by the first", (served_by(job) - before) / REQUIRED_BYTES, "copies")
    job.give("require", "memory", max(meters.rss(n.process.pid) for n in nodes) / 1e6, "MB")


def said(node, start):
    """When the node last said each of these things, in seconds since 1970; behind byte `start` of its log."""
    with open(node.log, "rb") as f:
        f.seek(start)
        text = f.read().decode("utf-8", "replace")
    return {what: datetime.datetime.strptime(when, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc).timestamp()
            for when, what in LINE.findall(text)}


def last_said(job, nodes, marks, what):
    def look():
        found = [said(n, marks[n]).get(what) for n in nodes]
        return max(found) if all(found) else None
    return job.until(look, f"all devices: {what}")
