"""A device that is locked by a required version, and programs on it."""
import itertools
import os

from lanyard import wait_until, write

count = itertools.count()


def gate(n):
    return n.cli("gate", json=True)["locked"]


def lock(a, b, message="take it"):
    """b is behind, and waits for its user."""
    b.cli("pause")
    write(a.folder, "plan", b"version %d" % next(count))
    a.cli("require", "--mode", "prompt", "--message", message)
    b.cli("resume")
    wait_until(lambda: gate(b), 10, "b locked")


def unlock(b):
    b.cli("gate", "accept")
    b.cli("gate", "wait", "--timeout", "20")


def text_of(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def states(pids):
    found = ""
    for pid in pids:
        try:
            found += text_of(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            found += "-"
    return found
