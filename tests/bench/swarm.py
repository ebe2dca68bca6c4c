"""Row `swarm` of the benchmark: devices on this machine's loopback that all receive the same from one of them, as one file and as many.

With a cap, every device sends at most CAP bytes a second of contents: the time over that of one copy at the cap says how well they share
the work. `served` is what the origin has sent of contents, in copies."""
import os
import random
import shutil
import time

import lanyard
import systems
from lanyard import wait_until

RECEIVERS = int(os.environ.get("RECEIVERS", "7"))
SWARM_BYTES = int(os.environ.get("SWARM_BYTES", "200000000"))
FILE_BYTES = 1_000_000
CAP = int(os.environ.get("CAP", "20000000"))
PATIENCE_S = 600


def start_devices(base, capped):
    nodes = []
    for i in range(RECEIVERS + 1):
        os.makedirs(os.path.join(base, f"d{i}"))
        nodes.append(lanyard.Node(os.path.join(base, f"d{i}", "home"), os.path.join(base, f"d{i}", "folder"), name=f"d{i}"))
        if i == 0:
            nodes[0].init().up()
        else:
            nodes[i].join(nodes[0].invite(), at=nodes[0].address, timeout=120)
    nodes[0].down()
    for i, node in enumerate(nodes):
        if capped:
            node.cli("config", "set", "rate.up", str(CAP))
        node.up(peers=nodes[:i])
    for node in nodes:
        node.wait(120, RECEIVERS)
    return nodes


def fill(folder, files):
    """About SWARM_BYTES that nobody has, in so many files."""
    rand = random.Random(files)
    os.makedirs(folder)
    for i in range(files):
        with open(os.path.join(folder, f"part{i:03}"), "wb") as f:
            for _ in range(SWARM_BYTES // files // 1_000_000):
                f.write(rand.randbytes(1_000_000))


def has_all(folder, files):
    """A file is there when it is whole."""
    return os.path.isdir(folder) and len(os.listdir(folder)) == files


def run(system, nodes, files, capped, figure):
    stage = os.path.join(system.base, "stage")
    fill(stage, files)
    origin = nodes[0]
    before = origin.status()["served"]
    start = time.monotonic()
    os.rename(stage, os.path.join(origin.folder, f"files{files}"))
    wait_until(lambda: all(has_all(os.path.join(n.folder, f"files{files}"), files) for n in nodes[1:]), PATIENCE_S, "all have all")
    took = time.monotonic() - start
    served = (origin.status()["served"] - before) / SWARM_BYTES
    what = f"swarm {files} files" if files > 1 else "swarm 1 file"
    if capped:
        figure(what + ", capped", system, took / (SWARM_BYTES / CAP), "times that of one copy at the cap", receivers=RECEIVERS, bytes=SWARM_BYTES)
    else:
        figure(what, system, took, "s", receivers=RECEIVERS, bytes=SWARM_BYTES)
    figure(what + (" served, capped" if capped else " served"), system, served, "copies sent by the origin", receivers=RECEIVERS)


def measure(system, figure, say):
    for capped in True, False:
        base = os.path.join(system.base, "capped" if capped else "free")
        nodes = start_devices(base, capped)
        system.processes = [n.process for n in nodes]
        say(f"swarm: {RECEIVERS + 1} devices run")
        for files in 1, SWARM_BYTES // FILE_BYTES:
            run(system, nodes, files, capped, figure)
        figure("swarm memory" + (", capped" if capped else ""), system, max(systems.rss(n.process.pid) for n in nodes) / 1e6,
               "MB, the largest device", receivers=RECEIVERS)
        for node in nodes:
            node.down()
        shutil.rmtree(base)
