"""Figures: one JSON object a line, and what follows from them.

    {"row": "big", "figure": "speed", "system": "rsync", "size": 2147483648, "pair": 1, "value": 340.1, "unit": "MB/s"}
    {"about": {"cpu": ..., "versions": {...}}}          # first: the machine, and what was run

A pair is one round in which each system has run once; its systems are compared within it."""
import json
import statistics
from typing import NamedTuple

import plan


class Summary(NamedTuple):
    median: float
    least: float
    most: float
    count: int
    unit: str


class Verdict(NamedTuple):
    target: plan.Target
    size: int
    found: str                  # the figure as it compares; "" when there is none
    met: object                 # True, False; None: not measured
    unit: str


def better_when_more(unit):
    return unit.endswith("/s")


class Results:
    def __init__(self, lines=()):
        self.figures, self.about = [], {}
        for line in lines:
            entry = json.loads(line)
            if "about" in entry:
                self.merge(entry["about"])
            else:
                self.figures.append(entry)

    def merge(self, about):
        """Of several runs: what differs is told of each."""
        for key, value in about.items():
            known = self.about.get(key)
            if not (isinstance(known, str) and isinstance(value, str)):
                self.about[key] = value
            elif value not in known.split(", "):
                self.about[key] = f"{known}, {value}"

    def add(self, **entry):
        self.figures.append(entry)
        return json.dumps(entry)

    def _of(self, **wanted):
        return [f for f in self.figures if all(f[k] == v for k, v in wanted.items())]

    def rows(self):
        found = {f["row"] for f in self.figures}
        return [row for row in plan.ROWS if row in found]

    def names(self, row):
        return list(dict.fromkeys(f["figure"] for f in self._of(row=row)))

    def systems(self, **wanted):
        found = {f["system"] for f in self._of(**wanted)}
        return [s for s in plan.ALL if s in found]

    def sizes(self, **wanted):
        return sorted({f["size"] for f in self._of(**wanted)})

    def unit(self, row, figure):
        return self._of(row=row, figure=figure)[0]["unit"]

    def summary(self, row, figure, system, size):
        found = self._of(row=row, figure=figure, system=system, size=size)
        values = [f["value"] for f in found]
        return Summary(statistics.median(values), min(values), max(values), len(values), found[0]["unit"]) if values else None

    def ratio(self, row, figure, than, size):
        """How many times as good as theirs our figure is: the median of all pairs; None when none has both."""
        ratios = []
        for pair in sorted({f["pair"] for f in self._of(row=row, figure=figure, size=size)}):
            ours, theirs = ([f["value"] for f in self._of(row=row, figure=figure, size=size, pair=pair, system=s)] for s in ("lanyard", than))
            if ours and theirs:
                a, b = statistics.median(ours), statistics.median(theirs)
                a, b = (a, b) if better_when_more(self.unit(row, figure)) else (b, a)
                ratios.append(a / b if b else float("inf"))
        return statistics.median(ratios) if ratios else None

    def verdict(self, target):
        """Of the largest size at which it can be said."""
        row, figure = target.row, target.figure
        for size in reversed(self.sizes(row=row, figure=figure, system="lanyard")):
            unit = self.unit(row, figure)
            if target.flat:
                return self.flat(target, size, unit)
            if not target.than:
                value = self.summary(row, figure, "lanyard", size).median
                met = value >= target.least if target.most is None else value <= target.limit(size)
                return Verdict(target, size, f"{plan.number(value)} {unit}", met, unit)
            ratio = self.ratio(row, figure, target.than, size)
            if ratio is not None:
                return Verdict(target, size, f"{plan.number(ratio)} x", ratio >= target.least, unit)
        return Verdict(target, 0, "", None, "")

    def flat(self, target, size, unit):
        smallest = self.sizes(row=target.row, figure=target.figure, system="lanyard")[0]
        if smallest == size:
            return Verdict(target, 0, "", None, "")
        most, least = (self.summary(target.row, target.figure, "lanyard", s).median for s in (size, smallest))
        return Verdict(target, size, f"{plan.number(most / least)} x", most <= least * target.flat, unit)

    def verdicts(self, rows):
        return [self.verdict(t) for t in plan.TARGETS if t.row in rows]
