"""Row `require` of the benchmark: many devices on this machine's loopback, one of which requires what it has.

It is measured what the devices' own logs say, to the millisecond: from the record in the admin's control log until the last device
is locked, and until the last one has reached the version. `served` is what the admin's device has sent of contents; what the others
have of each other it did not have to."""
import datetime
import os
import random
import re
import time

import lanyard
import systems
from lanyard import Failed, wait_until

DEVICES = int(os.environ.get("DEVICES", "100"))
REQUIRED_FILES = int(os.environ.get("REQUIRED_FILES", "50"))
FILE_BYTES = 1_000_000
PATIENCE_S = 1800

LINE = re.compile(r"^(\S+Z) info (control log has grown|locked by=|unlocked why=\"reached\")", re.M)


def said(node, start):
    """When the node last said each of these things, in seconds since 1970; behind byte `start` of its log."""
    with open(node.log, "rb") as f:
        f.seek(start)
        text = f.read().decode("utf-8", "replace")
    return {what: datetime.datetime.strptime(when, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc).timestamp()
            for when, what in LINE.findall(text)}


def start(node, first, tries=5):
    """A port that was free may be taken by one of ten thousand connections a moment later."""
    for left in reversed(range(tries)):
        try:
            return node.up(peers=[first], deadline=120)
        except Failed as wrong:
            if not left or "in use" not in str(wrong):
                raise


def start_devices(base, say):
    """All join before any but the first runs: else each would hear of every one that comes."""
    nodes = []
    for i in range(DEVICES):
        home = os.path.join(base, f"d{i}", "home")
        os.makedirs(os.path.dirname(home))
        nodes.append(lanyard.Node(home, os.path.join(base, f"d{i}", "folder"), name=f"d{i}"))
        if i == 0:
            nodes[0].init().up()
        else:
            nodes[i].join(nodes[0].invite(), at=nodes[0].address, timeout=120)
    say(f"require: {DEVICES} devices have joined")
    for node in nodes[1:]:
        start(node, nodes[0])
    say(f"require: {DEVICES} devices run")
    for node in nodes:
        node.wait(PATIENCE_S, DEVICES - 1)
    return nodes


def fill(folder):
    rand = random.Random(5)
    for i in range(REQUIRED_FILES):
        with open(os.path.join(folder, f"part{i:03}"), "wb") as f:
            f.write(rand.randbytes(FILE_BYTES))


def all_said(nodes, marks, what):
    def look():
        dead = [n.name for n in nodes if not n.running()]
        if dead:
            raise Failed(f"ended: {' '.join(dead)}")
        found = [said(n, marks[n]).get(what) for n in nodes]
        return max(found) if all(found) else None
    return wait_until(look, PATIENCE_S, f"all devices: {what}")


def measure(system, figure, say):
    began = time.monotonic()
    nodes = start_devices(system.base, say)
    say(f"require: {DEVICES} devices connected after {time.monotonic() - began:.0f} s")
    system.processes = [n.process for n in nodes]
    origin, others = nodes[0], nodes[1:]
    marks = {n: os.path.getsize(n.log) for n in nodes}
    # Written where nobody looks, and moved there just before: so nothing of it has come over before the record.
    stage = os.path.join(system.base, "stage")
    os.makedirs(stage)
    fill(stage)
    os.rename(stage, os.path.join(origin.folder, "data"))
    origin.cli("require", timeout=600)
    start = said(origin, marks[origin])["control log has grown"]
    locked = all_said(others, marks, "locked by=") - start
    reached = all_said(others, marks, 'unlocked why="reached"') - start
    served = origin.status()["served"]
    size = REQUIRED_FILES * FILE_BYTES
    figure("require", system, locked, "s until all locked", devices=DEVICES, bytes=size)
    figure("require reached", system, reached, "s until all reached", devices=DEVICES, bytes=size)
    figure("require served", system, served / size, "times its size served by the origin", devices=DEVICES)
    figure("require memory", system, max(systems.rss(n.process.pid) for n in nodes) / 1e6, "MB, the largest device", devices=DEVICES,
           cpu_s=round(systems.cpu(origin.process.pid), 1))
