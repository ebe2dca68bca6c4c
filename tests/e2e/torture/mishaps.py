"""What happens to nodes and to the network while users work: one thing at a time to a node, one at a time to the network."""
import collections
import json
import os
import random
import signal
import threading
import time
import traceback

import lanyard
from torture.user import moment

OF_NODES, OF_NETWORKS = ("kill", "pause", "freeze", "index"), ("cut", "split")
BACK = 45               # seconds in which a device must have found the others again
GRACE = 2.0             # and then to hear of what is new


class Absence:
    """Which nodes cannot exchange anything now, or could not a moment ago."""

    def __init__(self):
        self.lock, self.holds, self.since = threading.Lock(), collections.Counter(), collections.Counter()

    def hold(self, nodes):
        with self.lock:
            self.holds.update(nodes)

    def release(self, nodes):
        with self.lock:
            self.holds.subtract(nodes)
            self.since.update({n: time.monotonic() + GRACE - self.since[n] for n in nodes})

    def held(self, node):
        return self.holds[node]

    def absent(self, node):
        with self.lock:
            return self.holds[node] > 0 or time.monotonic() < self.since[node]


def online(node):
    """The names of the devices that it is connected to; none when it does not answer."""
    done = node.cli("status", "--json", check=False)
    return {p["name"] for p in json.loads(done.out)["peers"] if p["online"]} if done.code == 0 else set()


class Mishaps(threading.Thread):
    """Every now and then one of `kinds`, until the time is over. up(node) starts a node again."""

    def __init__(self, nodes, seed, until, kinds, absence, up):
        super().__init__(daemon=True)
        self.nodes, self.until, self.kinds, self.absence, self.up = nodes, until, kinds, absence, up
        self.rand = random.Random(f"mishaps {seed} {kinds}")
        self.done, self.wrong, self.failure = collections.Counter(), [], None

    def run(self):
        try:
            while self.kinds and time.monotonic() < self.until:
                kind, hit = self.rand.choice(self.kinds), self.rand.sample(self.nodes, len(self.nodes))
                moment(0.3 + self.rand.random() * (6 if kind in OF_NETWORKS else 1.5))
                self.happen(kind, hit if kind == "split" else hit[:1])
                self.done[kind] += 1
        except Exception:                       # the harness itself has failed, or a node that should live
            self.failure = traceback.format_exc()

    def happen(self, kind, hit):
        self.absence.hold(hit)
        getattr(self, kind)(*hit)
        try:
            lanyard.wait_until(lambda: all(self.is_back(n, hit) for n in hit), BACK, lambda: self.alone(hit))
        except lanyard.Failed as e:
            self.wrong.append(f"NOT BACK after {kind}: {e}")
        self.absence.release(hit)

    def missing(self, node, hit):
        """Whom it should be connected to and is not. Of those to whom something else is happening nothing can be said."""
        def busy(n):
            return self.absence.held(n) > (n in hit)
        return set() if busy(node) else {n.name for n in self.nodes if n is not node and not busy(n)} - online(node)

    def is_back(self, node, hit):
        if not self.missing(node, hit):
            return True
        moment(0.2)                             # asking costs what the nodes need
        return False

    def alone(self, hit):
        return "; ".join(f"{n.name} has not found {self.missing(n, hit)}" for n in hit)

    # to a node

    def kill(self, node):
        node.kill9()
        moment(self.rand.choice((0, 0, 0.3, 2)))
        self.up(node)

    def pause(self, node):
        node.cli("pause")
        moment(self.rand.random() * 2)
        node.cli("resume")

    def freeze(self, node):
        """As if the machine slept: its connections stay, and nothing answers."""
        node.signal(signal.SIGSTOP)
        moment(self.rand.random() * 3)
        node.signal(signal.SIGCONT)

    def index(self, node):
        node.kill9()
        for name in os.listdir(node.home):
            if name.startswith("index"):
                os.unlink(os.path.join(node.home, name))
        self.up(node)

    # to the network: some are over before anybody has noticed, some outlast the patience of the others

    def last(self):
        moment(min(self.rand.random() * self.rand.choice((1, 8, 30)), max(1, self.until - time.monotonic())))

    def cut(self, node):
        node.host.link_down()
        self.last()
        node.host.link_up()

    def split(self, *nodes):
        """In two, anywhere."""
        some = nodes[:self.rand.randrange(1, len(nodes))]
        for n in some:
            n.host.move_away()
        self.last()
        for n in some:
            n.host.move_back()
