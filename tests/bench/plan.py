"""The plan of the benchmark: its stages, their rows, and what is wanted of each.

A stage runs at one size, or at several to show growth; `systems` are those that can do it. A target is judged at the largest size that
was run; one that compares two systems takes the median of what the pairs of runs say."""
from typing import Callable, NamedTuple

import alone
import crowd
import huge
import pairs

ALL, WATCHING, OURS = ("lanyard", "syncthing", "rsync"), ("lanyard", "syncthing"), ("lanyard",)
MILLION = 1_000_000


class Stage(NamedTuple):
    name: str
    run: Callable                   # run(job)
    unit: str
    size: int
    quick: int                      # its size in `make bench-quick`
    systems: tuple
    shares: tuple = (16, 4)         # also run at size / share, once
    longest: int = 0                # with BENCH_LONG=1 our own, once


STAGES = [
    Stage("bulk", pairs.bulk, "bytes", 2 << 30, 64 << 20, ALL),
    Stage("files", pairs.files, "files", 100_000, 2_000, ALL, longest=MILLION),
    Stage("alone", alone.scan, "files", 100_000, 5_000, WATCHING, longest=MILLION),
    Stage("swarm", crowd.swarm, "bytes", 200_000_000, 20_000_000, WATCHING),
    Stage("devices", crowd.devices, "devices", 100, 8, OURS, (4, 2)),
    Stage("huge", huge.huge, "bytes", 100_000_000_000, 200_000_000, OURS),
]

ROWS = {    # name: (stage, what is done)
    "big": ("bulk", "One large file goes to one peer, from the start of both to equal trees."),
    "rename": ("bulk", "The large file is renamed, there and back."),
    "insert": ("bulk", "One byte is inserted at a third of the large file, and the file saved anew."),
    "small": ("files", "Many files of 200 to 8,000 bytes go to one peer, from the start of both to equal trees."),
    "idle": ("files", "Two devices hold these files and nothing happens: memory, index, CPU and what is written to the disk, of the larger one."),
    "latency": ("files", f"A file of {pairs.CHANGED:,} bytes is saved in this folder, until the other device shows it."),
    "move": ("files", "A directory with a fifth of these files is renamed."),
    "scan": ("alone", "One device with such files: its first scan, another one when nothing has changed, and a restart."),
    "swarm": ("swarm", f"{crowd.RECEIVERS} devices receive the same from one; also with a cap of {crowd.CAP // 1_000_000} MB/s on what each sends."),
    "devices": ("devices", "Many devices on one machine: one small file until all show it; then nothing happens."),
    "require": ("devices", f"One of them requires {crowd.REQUIRED_BYTES // 1_000_000} MB that it alone has."),
    "huge": ("huge", "Two files with a MiB of data in each GB, the rest hole; the receiver is killed half way. The size is that of one."),
}


class Target(NamedTuple):
    """`than`: our figure must be `least` times as good as this system's. `flat`: at the largest size it may be so many times that at the
    smallest. Otherwise it must be at least `least`, or at most `most`, which may depend on the size."""
    row: str
    figure: str
    than: str = ""
    least: float = 0
    most: object = None
    flat: float = 0

    def text(self, size, unit):
        if self.than:
            return f"{self.least:g} x {self.than}"
        if self.flat:
            return f"at most {self.flat:g} x that at the smallest size"
        if self.most is not None:
            return f"at most {number(self.limit(size))} {unit}".rstrip()
        return f"at least {number(self.least)} {unit}".rstrip()

    def limit(self, size):
        return self.most(size) if callable(self.most) else self.most


TARGETS = [
    Target("big", "speed", "syncthing", 6),
    Target("big", "speed", "rsync", 0.8),
    Target("big", "wire", most=1.05),
    Target("insert", "time", "syncthing", 20),
    Target("insert", "wire", most=4_000_000),
    Target("rename", "time", "syncthing", 50),
    Target("rename", "wire", most=1_000_000),
    Target("rename", "contents read", most=0),
    Target("small", "speed", "syncthing", 15),
    Target("small", "speed", "rsync", 0.6),
    Target("move", "time", "syncthing", 10),
    Target("move", "wire", most=400),
    Target("move", "contents read", most=0),
    Target("latency", "median", most=60),
    Target("latency", "99th", most=200),
    Target("scan", "first", "syncthing", 6),
    Target("scan", "restart", "syncthing", 8),
    Target("scan", "rescan rate", least=150_000),
    Target("idle", "memory", most=lambda size: 25 + size * 150e-6),
    Target("idle", "index", most=400),
    Target("idle", "cpu", most=0.2),
    Target("idle", "disk", most=0),
    Target("swarm", "time, many files", "syncthing", 5),
    Target("swarm", "time, capped", most=1.6),
    Target("swarm", "sent by the first, capped", most=1.5),
    Target("devices", "visible", most=2000),
    Target("devices", "cpu of all", most=10),
    Target("devices", "memory", most=15),
    Target("huge", "memory", flat=1.25),
    Target("huge", "steps back", most=0),
    Target("huge", "wire", most=6),                   # an island of 1 MiB lies in blocks of up to 5 MiB together; nothing comes twice
]


def number(value):
    """As people read it: three digits that count, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def size_text(size, unit):
    if unit != "bytes":
        return f"{size:,} {unit}"
    for factor, name in (1 << 30, "GiB"), (1 << 20, "MiB"):
        if size >= factor and size % factor == 0:
            return f"{size // factor:,} {name}"
    return f"{size / 1e9:,.3g} GB" if size >= 1e9 else f"{size / 1e6:,.3g} MB"


def stage_of(row):
    return next(s for s in STAGES if s.name == ROWS[row][0])


def sizes(stage, scale, quick, growth, long):
    """(size, how often, systems) of each round of a stage; how often None: as often as was asked for."""
    if quick:
        return [(max(1, round(stage.quick * scale)), None, stage.systems)]
    size = max(1, round(stage.size * scale))
    rounds = [(max(1, size // share), 1, stage.systems) for share in stage.shares if growth]
    return rounds + [(size, None, stage.systems)] + ([(stage.longest, 1, OURS)] if long and stage.longest else [])
