"""One run of one stage by one system: `stage.run(job)` does the work of the stage's rows with what a Job offers, and gives figures.

A stage is what several rows need first, e.g. two devices that hold a file of 2 GiB: it is made once, and the rows follow each other on
it. Only the rows that were asked for give figures."""
import os
import time

import meters
from data import Arrival
from lanyard import Failed, wait_until

PATIENCE_S = 3600
CALM_S, CALM_SHARE = 1, 0.05


class Job:
    """kind: a class of systems.py; size: of the stage, in its unit; quick: what only takes time may be short; give(row, figure, value, unit): where figures go."""

    def __init__(self, kind, size, rows, base, shelf, give, quick=False):
        self.kind, self.size, self.rows, self.base, self.shelf, self._give, self.quick = kind, size, rows, base, shelf, give, quick
        self.system = None

    def wants(self, *rows):
        return any(row in self.rows for row in rows)

    def give(self, row, figure, value, unit):
        if self.wants(row) and value is not None:
            self._give(row, figure, value, unit)

    # ---- the system ----

    def devices(self, count):
        """So many paired devices that do not run; the last ones are ended."""
        self.end()
        base = os.path.join(self.base, f"system{len(os.listdir(self.base))}")
        os.makedirs(base)
        self.system = self.kind(base, count)
        self.system.prepare()
        return self.system

    def end(self):
        if self.system:
            self.system.stop()

    def path(self, device, name):
        return os.path.join(self.system.folders[device], name)

    # ---- waiting ----

    def until(self, look, what, deadline=PATIENCE_S):
        """Waits; a system that has ended is a failure at once."""
        def alive():
            wrong = self.system.failed()
            if wrong:
                raise Failed(wrong)
            return look()
        return wait_until(alive, deadline, what)

    def arrived(self, name, extra=lambda: True):
        """Waits until all have what the first device has under this name, and extra() is true."""
        arrivals = [Arrival(self.path(0, name), self.path(i, name)) for i in range(1, self.system.count)]
        self.until(lambda: all(a.complete() for a in arrivals) and extra(), f"{name} on all devices")

    def calm(self):
        """Waits until no device uses more than a twentieth of a core for a second; one that does not watch is calm when its run is over."""
        if not self.system.watches:
            self.system.processes[-1].wait()
            return
        last = [time.monotonic(), self.system.cpu()]

        def look():
            now = time.monotonic()
            if now - last[0] < CALM_S:
                return False
            before, last[:] = last[1], [now, self.system.cpu()]
            return all(b - a < CALM_S * CALM_SHARE for a, b in zip(before, last[1]))
        self.until(look, "all devices have calmed down", 600)

    def pause(self, seconds):
        """Lets so much time go by."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "the end of a pause")

    # ---- counting ----

    def wire(self):
        """wire = job.wire() ... wire(): bytes on the wire since; wire(1000): by so many. None when it cannot be said."""
        before = meters.wire()
        return lambda by=1: None if before is None else (meters.wire() - before) / by
