"""What must be true in the end, and which contents had been safe from their own user."""
import collections
import os
import threading
import time
import traceback

import lanyard
from torture.contents import contents_beneath, digest, whole
from torture.user import moment

LOOK = 0.4              # seconds between two looks at everything
CHECKED = 80            # old versions that are read through the program, in each round


class Watcher(threading.Thread):
    """Which contents lay still on a device, and for how long while it was connected."""

    def __init__(self, nodes, absence, until):
        super().__init__(daemon=True)
        self.nodes, self.absence, self.until = nodes, absence, until
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
            present = [n for n in self.nodes if not self.absence.absent(n)]
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
    """True when it is read through the program; what was said when it cannot be had."""
    said = []
    for n, row in rows.get(size, ()):
        path = row["path"] if isinstance(row["path"], str) else bytes.fromhex(row["path"]["hex"])
        done = n.cli("cat", "--version", row["version"], path, check=False)
        if done.code == 0 and digest(done.raw) == d:
            return True
        said.append(f"{n.name}: cat {path} --version {row['version']}: exit {done.code} {done.err.strip()}")
    return said


def found_again(nodes, d, size, timeout=20):
    """Who has lost the index looks through what is kept when all else is known."""
    try:
        lanyard.wait_until(lambda: available(d, size, versions_by_size(nodes)) is True, timeout, "a kept file as a version")
        return True
    except lanyard.Failed:
        return available(d, size, versions_by_size(nodes))


def quiet(nodes, wrong, kinds, up, timeout=40):
    """A content that its user destroyed before anybody had fetched it is waited for in vain when its author has forgotten, with its index,
    that it was destroyed. All else must come to rest, and nobody must be in trouble."""
    hopeless = "index" in kinds
    for n in nodes:
        if not n.running():
            up(n)
        n.cli("resume", check=False)
    try:
        for n in nodes:
            n.cli("scan")
        for n in nodes:
            seconds = int((timeout / 4 if hopeless else timeout) * lanyard.SLOW)
            done = n.cli("wait", "--timeout", seconds, "--peers", len(nodes) - 1, check=False, timeout=timeout + 30)
            if done.code and not hopeless:
                wrong.append(f"NO QUIET {n.name}: {done.err}")
        lanyard.same_trees(*nodes, timeout=timeout)
        for n in nodes:
            lanyard.wait_until(lambda n=n: n.status()["state"] != "error", timeout, lambda n=n: f"{n.name}: {n.cli('status').out}")
    except lanyard.Failed as e:
        wrong.append(f"NO QUIET {e}")


def find_lost(nodes, contents, watcher, wrong, rand, stable, kinds):
    """`stable`: seconds after which a content must have been safe."""
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
        must = not destroyed or watcher.longest[d] >= stable
        if d in files and size in rows and looked >= CHECKED:
            continue
        if not must and d not in files:
            soft += 1
            continue
        looked += 1
        said = available(d, size, rows)
        if said is not True and d in files and "index" in kinds:
            said = found_again(nodes, d, size)
        if said is not True:
            kind = "UNLISTED" if d in files else "LOST"
            wrong.append(f"{kind} content {number} of {size} bytes, made by {name} at {path}; destroyed {destroyed}; stable for "
                         f"{watcher.longest[d]:.1f} s; last at {watcher.seen.get(d)}; kept {files.get(d)}; {said}")
    return len(old), looked, soft
