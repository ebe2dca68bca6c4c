"""What the kernel counts: of processes, of the network, of this machine.

A system runs as processes with children; a figure of a process is that of all below it too. In a network namespace of its own the
benchmark is alone on its loopback, so what the kernel counts there is what the systems have sent each other: `alone_on_the_network`
must be called before anything is started. It takes root; without it there are no figures of bytes on the wire."""
import ctypes
import os
import platform
import resource
import shutil
import subprocess

import lanyard

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
CLONE_NEWNET = 0x40000000

_alone = []                     # not empty: the loopback is ours


def alone_on_the_network():
    """Puts this process, and all that it will start, into a network with nothing but a loopback. Returns why not, or None."""
    if os.geteuid():
        return "bytes on the wire are not counted: that takes root"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        return f"bytes on the wire are not counted: {os.strerror(ctypes.get_errno())}"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    _alone.append(True)
    return None


def wire():
    """Bytes that have gone over the loopback, headers and acknowledgements too; None where others use it as well."""
    if not _alone:
        return None
    with open("/proc/thread-self/net/dev", encoding="ascii") as f:
        return next(int(line.split(":")[1].split()[8]) for line in f if line.strip().startswith("lo:"))


def _each(pid, read):
    """read(pid) of a process and of all below it; who has ended meanwhile counts nothing."""
    total = 0
    for each in lanyard.descendants(pid):
        try:
            total += read(each)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


def _resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * PAGE


def _ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15]))         # in user and kernel mode, its own and that of children it has waited for


def _io(pid, key):
    with open(f"/proc/{pid}/io", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key + ":"))


def rss(pid):
    """Resident bytes."""
    return _each(pid, _resident)


def cpu(pid):
    """CPU seconds."""
    return _each(pid, _ticks) / TICK


def cpu_of_ended():
    """CPU seconds of all children of this program that it has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def written(pid):
    """Bytes that are to go to the disk."""
    return _each(pid, lambda each: _io(each, "write_bytes"))


# ---- the machine ----

def _first(path, key):
    with open(path, encoding="utf-8") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith(key)), "unknown")


def _file_system(path):
    done = subprocess.run(["df", "--output=fstype", path], capture_output=True, text=True)
    return done.stdout.split("\n")[1].strip() if done.returncode == 0 else "unknown"


def _commit():
    if not shutil.which("git"):
        return "unknown"
    done = subprocess.run(["git", "-C", lanyard.ROOT, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def machine(place):
    """What one must know of this machine to compare its figures; `place` is where the data lies."""
    memory = int(_first("/proc/meminfo", "MemTotal").split()[0]) * 1024
    return {"cpu": _first("/proc/cpuinfo", "model name"), "cores": len(os.sched_getaffinity(0)), "memory": memory,
            "kernel": f"{platform.system()} {platform.release()}", "file system": _file_system(place), "commit": _commit()}
