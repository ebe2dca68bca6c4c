"""What a lock means on the locked device: the file LOCKED, hooks, notifications, files that are read-only."""
import itertools
import json
import os
import re
import subprocess

from gate import count, gate, lock, states, text_of, unlock
from lanyard import (closing, descendants, failed, fixture, group, is_file_with, node, on_hosts, path_of, same_trees, tap, temp_dir, test,
                     tree_digest, wait_until, write)


@fixture
def nodes():
    return group("a", "b")


# ---- what the folder shows ----

def locked_file(n):
    """What the file LOCKED says to programs; None while there is no such file."""
    path = os.path.join(n.folder, ".lanyard", "LOCKED")
    return json.loads(text_of(path).splitlines()[-1]) if os.path.exists(path) else None


@test
def the_folder_says_that_it_is_locked_also_after_a_crash():
    a, b = nodes()
    lock(a, b, 'take "it"')
    wait_until(lambda: locked_file(b), 10, "the file LOCKED")
    said = locked_file(b)
    assert (said["by"], said["message"], said["until"]) == ("a", 'take "it"', None) and said["since"], said
    assert said["id"] == b.status()["required"]["id"]
    assert "a requires another version first" in text_of(os.path.join(b.folder, ".lanyard", "LOCKED"))
    b.kill9()
    assert locked_file(b)                            # there is nobody to unlock it
    b.up(peers=[a])
    assert gate(b) and locked_file(b)
    a.cli("require", "--mode", "prompt", "--message", "another one")
    wait_until(lambda: locked_file(b)["message"] == "another one", 10, "the file to say the latest")
    unlock(b)
    wait_until(lambda: not locked_file(b), 10, "the file LOCKED to go")


@test
def the_file_is_there_as_soon_as_it_can_be():
    a, b = nodes()
    obstacle = os.path.join(b.folder, ".lanyard", "LOCKED")
    os.mkdir(obstacle)
    lock(a, b)
    os.rmdir(obstacle)
    write(b.folder, "news", b"something happens")
    wait_until(lambda: locked_file(b), 10, "the file LOCKED")
    assert [e["event"] for e in b.events() if "locked" in e["event"]][-1] == "locked"
    unlock(b)
    wait_until(lambda: not locked_file(b), 10, "the file LOCKED to go")


@test
def nothing_is_brought_back_while_locked():
    a, b = nodes()
    write(b.folder, "own", b"1")
    b.cli("snapshot", "create", "before")
    write(b.folder, "own", b"2")
    b.cli("scan")
    lock(a, b)
    for argv in (("restore", "own"), ("restore", "--at", "1h"), ("snapshot", "restore", "before"), ("resolve", "own", "--keep", "1")):
        done = b.cli(*argv, check=False)
        failed(done, 6)
        assert "a requires another version first: take it: `lanyard gate`" in done.err, done.err
    would = b.cli("snapshot", "restore", "before", "--dry-run", json=True)["changes"]
    assert ("restore", "own") in [(c["change"], c["path"]) for c in would], would
    unlock(b)
    b.cli("restore", "own", "--version", b.cli("log", "own", json=True)[-1]["version"])
    wait_until(lambda: is_file_with(b.folder, "own", b"1"), 10, "the version of before")


# ---- hooks ----

def hook(n, name, lines, mode=0o755):
    """Makes HOME/hooks/NAME; what it writes to its third descriptor, opened by itself, is in the file that is returned."""
    os.makedirs(os.path.join(n.home, "hooks"), exist_ok=True)
    path, out = os.path.join(n.home, "hooks", name), os.path.join(temp_dir(f"hook{next(count)}"), "out")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\nexec 3>>{out}\n{lines}\n")
    os.chmod(path, mode)
    closing(lambda: os.remove(path))
    return out


def facts(out, end="end"):
    """The environment that a hook wrote, once it is complete."""
    wait_until(lambda: os.path.exists(out) and text_of(out).endswith(f"{end}\n"), 10, f"the end of {out}")
    return dict(line.split("=", 1) for line in text_of(out).splitlines() if line.startswith("LANYARD_"))


SHOW = "env >&3; echo end >&3"


def logged(n, text):
    wait_until(lambda: text in text_of(n.log), 10, f"{text!r} in the log")


@test
def hooks_hear_of_a_lock_and_its_end_once():
    a, b = nodes()
    on_lock, on_unlock = hook(b, "on-lock", f"echo $LANYARD_BY locks us; ls -l /proc/self/fd; {SHOW}"), hook(b, "on-unlock", SHOW)
    lock(a, b)
    found = facts(on_lock)
    assert found == {"LANYARD_EVENT": "locked", "LANYARD_TIME": found["LANYARD_TIME"], "LANYARD_HOME": b.home, "LANYARD_FOLDER": b.folder,
                     "LANYARD_DEVICE": "b", "LANYARD_BY": "a", "LANYARD_MESSAGE": "take it"}, found
    logged(b, "hook on-lock: a locks us")
    assert "socket" not in text_of(b.log) and "index.db" not in text_of(b.log)     # what it has open
    b.kill9()
    a.cli("require", "cancel")                       # its end is told although nobody saw it
    b.up(peers=[a])
    found = facts(on_unlock)
    assert found["LANYARD_EVENT"] == "unlocked" and found["LANYARD_REASON"] == "ended", found
    assert text_of(on_lock).count("end\n") == text_of(on_unlock).count("end\n") == 1
    assert [e["event"] for e in b.events() if "locked" in e["event"]] == ["unlocked"]


@test
def hooks_of_a_kind_run_one_after_the_other():
    a, b = nodes()
    names = [f"both{i}" for i in range(5)]
    out = hook(b, "on-conflict", 'echo begin "$LANYARD_PATH" >&3; for i in 1 2 3 4 5 6 7 8; do env true; done; echo end >&3')
    b.cli("pause")
    for n in (a, b):
        for name in names:
            write(n.folder, name, n.name.encode())
        n.cli("scan")
    b.cli("resume")
    wait_until(lambda: os.path.exists(out) and text_of(out).count("end") == 5, 20, "five conflicts told")
    lines = text_of(out).splitlines()
    assert lines[1::2] == ["end"] * 5 and sorted(lines[::2]) == [f"begin {name}" for name in names], lines
    assert sorted(e["path"] for e in b.events() if e["event"] == "conflict") == names


@test
def other_hooks_and_those_that_may_not_run():
    a, b = nodes()
    joined, wrong, failing = hook(a, "on-join", SHOW), hook(b, "on-lock", SHOW, 0o777), hook(b, "on-unlock", "exit 3")
    c = node("c")
    c.join(a.invite(), at=a.address)
    assert facts(joined)["LANYARD_NAME"] == "c"
    lock(a, b)
    logged(b, "on-lock: others can write to it: chmod go-w")
    unlock(b)
    logged(b, "hook on-unlock: exit code 3")
    assert not os.path.exists(wrong) and os.path.exists(failing)
    out = hook(b, "on-error", "echo $$ >&3; cat /dev/zero >/dev/null")
    os.rename(b.folder, b.folder + ".away")
    wait_until(lambda: os.path.exists(out) and text_of(out), 10, "the hook to run")
    pid = int(text_of(out))
    b.down()                                         # does not wait for it
    wait_until(lambda: states([pid]) == "-", 10, "the end of the hook")
    os.rename(b.folder + ".away", b.folder)
    b.up(peers=[a])


@test
def a_hook_that_does_not_end_is_killed_with_what_it_has_started():
    a, b = nodes()
    out = hook(b, "on-lock", "tail -f /dev/null >/dev/null 2>&1 3>&- & echo $! >&3; echo $$ >&3; wait")
    b.down().cli("config", "set", "hook_seconds", "1")
    b.up(peers=[a])
    for times in (1, 2):                             # the next one is not kept waiting
        lock(a, b)
        wait_until(lambda: text_of(b.log).count("hook on-lock: killed by signal 9") == times, 10, "its end")
        unlock(b)
    assert text_of(b.log).count("hook on-lock: still running after 1 s, and killed") == 2
    wait_until(lambda: set(states(text_of(out).split())) <= set("Z-"), 10, "all of it gone")
    b.down().cli("config", "set", "hook_seconds", "60")
    b.up(peers=[a])


# ---- the desktop ----

def desktop():
    """A session bus of our own, with a real notification daemon on it: its address, and what has been shown up to now."""
    place = temp_dir("desktop")
    address, shown = f"unix:path={place}/bus", os.path.join(place, "shown")

    def start(*argv, **kw):
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)
        closing(p.wait)
        closing(p.kill)
    start("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}")
    with open(os.path.join(place, "display"), "wb") as display:
        start("Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "320x240x8", stdout=display)
    wait_until(lambda: text_of(display.name).endswith("\n") and os.path.exists(f"{place}/bus"), 20, "the display and the bus")
    env = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": address, "DISPLAY": f":{text_of(display.name).strip()}", "HOME": place}
    with open(shown, "wb") as out:
        start("stdbuf", "-oL", "dunst", "-print", stdout=out, env=env)
    there = ["dbus-send", f"--bus={address}", "--print-reply", "--dest=org.freedesktop.Notifications", "/", "org.freedesktop.DBus.Peer.Ping"]
    wait_until(lambda: subprocess.run(there, capture_output=True).returncode == 0, 20, "the notification daemon")
    return address, lambda: text_of(shown)


@test
def the_desktop_is_told_of_a_lock_and_its_end():
    a, b = nodes()
    address, shown = desktop()
    usual = b.env
    b.env = lambda: {**usual(), "DBUS_SESSION_BUS_ADDRESS": address}
    b.down().up(peers=[a])
    lock(a, b, "see <b>page 7</b> & sign")
    wait_until(lambda: "Locked: a requires another version first" in shown(), 20, shown)
    wait_until(lambda: "see &lt;b&gt;page 7&lt;/b&gt; &amp; sign" in shown() and b.folder in shown(), 20, shown)
    unlock(b)
    wait_until(lambda: "Unlocked" in shown(), 20, shown)
    b.env = lambda: {**usual(), "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"}
    b.down().cli("config", "set", "notify", "false")
    b.up(peers=[a])
    lock(a, b)
    unlock(b)
    b.down().cli("config", "set", "notify", "true")
    b.up(peers=[a])
    lock(a, b)
    logged(b, "hook notify: nobody was told: unix:path=/nonexistent/bus: ")
    assert text_of(b.log).count("nobody was told") == 1 and gate(b)
    unlock(b)
    b.env = usual
    b.down().up(peers=[a])


# ---- mode strict ----

def modes(n):
    """The modes of all files, 0644 and the like."""
    return {os.fsdecode(path): mode for path, (kind, mode, *_) in tree_digest(n.folder, content=False).items() if kind == "file"}


def writable(n):
    return [path for path, mode in modes(n).items() if mode & 0o222]


def have_read(n):
    """Bytes that the node has read from files up to now."""
    pid = next(p for p in reversed(descendants(n.process.pid)) if text_of(f"/proc/{p}/comm") == "lanyardd\n")     # not a helper of its
    return int(re.search(r"rchar: (\d+)", text_of(f"/proc/{pid}/io"))[1])


def lock_strictly(a, b):
    """b stays locked, in mode strict, until the two files that are returned are closed: nothing is put in the place of what is being
    written."""
    held, late = (open(path_of(b.folder, name), "r+b") for name in ("held", "late"))
    closing(held.close)
    closing(late.close)
    b.cli("pause")
    write(a.folder, "held", b"as required")
    write(a.folder, "late", b"installed while strict holds", 0o640)
    a.cli("require", "--mode", "strict")
    b.cli("resume")
    wait_until(lambda: gate(b), 10, "b locked")
    return held, late


FILES = {f"f{i:03}": mode for i, mode in zip(range(300), itertools.cycle((0o644, 0o755, 0o600, 0o664, 0o444)))}


def filled():
    a, b = group("a", "b")
    for path, mode in FILES.items():
        write(a.folder, path, path.encode(), mode)
    write(a.folder, "large", bytes(12 << 20), 0o644)
    write(a.folder, "held", b"before")
    write(a.folder, "late", b"before")
    same_trees(a, b)
    b.settle()
    return a, b


@test
def strict_makes_files_read_only_and_gives_their_modes_back():
    a, b = filled()
    (held, late), read = lock_strictly(a, b), have_read(b)
    wait_until(lambda: not writable(b), 10, lambda: f"all read-only; these are not: {writable(b)[:9]}")
    late.close()
    wait_until(lambda: is_file_with(b.folder, "late", b"installed while strict holds"), 10, "the file that comes late")
    assert modes(b)["f001"] == 0o555 and modes(b)["late"] == 0o440, modes(b)
    os.chmod(path_of(b.folder, "f000"), 0o644)       # who wants to, edits: in place
    with open(path_of(b.folder, "f000"), "wb") as f:
        f.write(b"edited all the same")
    write(b.folder, "f003", b"and by an editor that keeps the mode it finds", 0o444)
    b.cli("scan")
    assert modes(b)["f000"] == 0o644
    held.close()
    b.cli("gate", "wait", "--timeout", "20")
    found = modes(b)                                 # at once: the lock is not over before
    assert all(found[path] == mode for path, mode in FILES.items()) and found["late"] == 0o640, found
    assert have_read(b) - read < 6 << 20, "files were read again"
    same_trees(a, b)
    assert modes(a)["f003"] == 0o664 and is_file_with(a.folder, "f000", b"edited all the same")
    assert {e["path"] for e in a.cli("log", json=True) if e["device"] == "b"} == {"f000", "f003"}


@test
def strict_survives_a_crash_at_any_moment():
    a, b = filled()
    edited = open(path_of(b.folder, "f000"), "r+b")
    closing(edited.close)
    held, late = lock_strictly(a, b)
    wait_until(lambda: len(writable(b)) < 300, 10, "the first files to be read-only")
    b.kill9()
    b.up(peers=[a])
    wait_until(lambda: not writable(b), 10, lambda: f"all read-only; these are not: {writable(b)[:9]}")
    edited.write(b"an edit under way: the way back cannot end before it is on record")
    edited.flush()
    held.close()
    late.close()
    wait_until(lambda: len(writable(b)) > 200, 10, "files to be writable again")
    assert gate(b) and "f000" not in writable(b)
    b.kill9()
    edited.close()
    b.up(peers=[a])
    wait_until(lambda: not gate(b) and "f000" in writable(b), 20, "the end of it")
    b.settle()
    same_trees(a, b)
    assert all(modes(b)[path] == mode for path, mode in FILES.items()), modes(b)
    assert {e["path"] for e in a.cli("log", json=True) if e["device"] == "b"} == {"f000"}     # none of the rest was an edit


on_hosts()
tap.main()
