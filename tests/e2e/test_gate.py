"""What a lock means for programs on the locked device."""
import ctypes
import itertools
import json
import os
import pty
import re
import signal
import subprocess

from lanyard import (LANYARD, closing, descendants, failed, fixture, group, is_file_with, node, path_of, same_trees, tap, temp_dir,
                     test, tree_digest, wait_until, write)

PR_SET_CHILD_SUBREAPER = 36


@fixture
def nodes():
    return group("a", "b")


count = iter(range(1000))


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


def words(process):
    """What it has said on standard error up to now."""
    with open(process.said, "rb") as f:
        return f.read().decode()


def run(n, *argv, **kw):
    """lanyard gate run ARGV..., as the leader of a group; ended by the test if it has not ended."""
    said = os.path.join(temp_dir(f"run{next(count)}"), "said")
    with open(said, "wb") as err:
        p = n.popen(LANYARD, "gate", "run", *argv, stdin=kw.get("stdin", subprocess.PIPE), stdout=subprocess.PIPE, stderr=err,
                    process_group=0)
    p.said = said

    def end():
        if p.poll() is None:
            p.kill()
            p.wait()
        p.stdin.close()
        p.stdout.close()
    closing(end)
    return p


def script(line):
    """A program that says who it is, does `line`, then copies its input until that ends. The copying is a process of its own."""
    pid = os.path.join(temp_dir(f"program{next(count)}"), "pid")
    return pid, ("--", "sh", "-c", f"{line}; echo $$ >{pid}.new; mv {pid}.new {pid}; cat; exit 7")


def text_of(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def started(pid):
    """The program and the process that copies."""
    def look():
        if not os.path.exists(pid):
            return None
        first = int(text_of(pid))
        try:
            return [[first, int(c)] for c in text_of(f"/proc/{first}/task/{first}/children").split()
                    if text_of(f"/proc/{c}/comm") == "cat\n"]
        except FileNotFoundError:        # one that has just ended
            return None
    return wait_until(look, 10, "the program to run")[0]


def states(pids):
    found = ""
    for pid in pids:
        try:
            found += text_of(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            found += "-"
    return found


def stopped(pids):
    wait_until(lambda: states(pids) == "TT", 10, lambda: f"both stopped; they are {states(pids)}")


def going(pids):
    wait_until(lambda: not set("T-") & set(states(pids)), 10, lambda: f"both going on; they are {states(pids)}")


@test
def a_program_has_its_own_exit_code():
    _, b = nodes()
    for line, code in (("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)):
        done = b.cli("gate", "run", "--", "sh", "-c", line, check=False)
        assert (done.code, done.out, done.err) == (code, "", ""), (line, done.code, done.err)
    assert b.cli("gate", "run", "--", "cat", stdin=b"as it is\0").raw == b"as it is\0"
    failed(b.cli("gate", "run", "--", "/nonexistent/program", check=False), 127)
    failed(b.cli("gate", "run", "--", b.folder, check=False), 126)
    failed(b.cli("gate", "run", check=False), 2)
    failed(b.cli("gate", "run", "--json", "--", "true", check=False), 2)
    failed(b.cli("gate", "status", "--term", check=False), 2)
    failed(b.cli("gate", "status", "true", check=False), 2)


@test
def it_starts_when_it_may_and_stops_with_all_it_has_started():
    a, b = nodes()
    lock(a, b)
    pid, argv = script("true")
    p = run(b, *argv)
    wait_until(lambda: "waiting: a requires another version first: take it" in words(p), 10, lambda: words(p))
    assert not os.path.exists(pid)
    unlock(b)
    both = started(pid)
    lock(a, b)
    stopped(both)
    p.stdin.write(b"written while it was stopped")
    p.stdin.flush()
    unlock(b)
    out = p.communicate()[0]
    assert out == b"written while it was stopped" and p.returncode == 7, (out, p.returncode)
    assert words(p).splitlines()[1:] == ["lanyard: stopped: a requires another version first: take it", "lanyard: going on"], words(p)


@test
def signals_reach_it_also_while_it_is_stopped():
    a, b = nodes()
    pid, argv = script("trap 'exit 9' HUP")
    p = run(b, *argv)
    started(pid)
    p.send_signal(signal.SIGHUP)
    assert p.wait(20) == 9
    pid, argv = script("true")
    p = run(b, *argv)
    both = started(pid)
    lock(a, b)
    stopped(both)
    p.send_signal(signal.SIGTERM)
    assert p.wait(20) == 128 + signal.SIGTERM
    wait_until(lambda: states(both) == "--", 10, "all of it gone")
    unlock(b)


@test
def with_term_it_is_ended():
    a, b = nodes()
    pid, argv = script("trap 'echo was asked; exit' TERM")
    p = run(b, "--term", *argv)
    both = started(pid)
    lock(a, b)
    assert p.wait(20) == 6, p.returncode
    assert p.stdout.read() == b"was asked\n"
    assert "sh was ended: another version is required first" in words(p), words(p)
    wait_until(lambda: states(both) == "--", 10, "all of it gone")
    unlock(b)


@test
def a_node_that_is_away_changes_nothing_and_is_obeyed_when_it_is_back():
    a, b = nodes()
    pid, argv = script("true")
    p = run(b, *argv)
    both = started(pid)
    lock(a, b)
    stopped(both)
    b.down()
    failed(b.cli("gate", "run", "--", "true", check=False), 4)
    stopped(both)
    b.up(peers=[a])
    unlock(b)
    going(both)
    b.kill9()
    going(both)
    write(a.folder, "plan", b"changed while b was away")
    a.cli("require", "--mode", "prompt")
    b.up(peers=[a])
    stopped(both)
    a.cli("require", "cancel")
    going(both)
    assert p.communicate(b"")[0] == b"" and p.returncode == 7


@test
def it_is_not_stopped_for_ever_when_the_one_who_watches_is_killed():
    # What is orphaned becomes ours, and we are of its session: so the kernel does not see to it by itself.
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    closing(lambda: ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0))
    a, b = nodes()
    pid, argv = script("true")
    p = run(b, *argv)
    both = started(pid)
    lock(a, b)
    stopped(both)
    os.killpg(p.pid, signal.SIGKILL)
    going(both)
    p.stdin.close()                                  # of the program, too: nobody else holds it
    wait_until(lambda: set(states(both)) <= set("Z-"), 10, "its end")
    os.waitpid(both[0], 0)
    unlock(b)


def terminal(n, *argv):
    """A process with a terminal of its own, as the user of one has it: its pid, the other end, and what it has shown."""
    shown = bytearray()
    child, fd = pty.fork()
    if child == 0:
        os.environ.update(n.env(), PS1="READY ", TERM="dumb")
        os.execvp(argv[0], argv)
    os.set_blocking(fd, False)

    def end():
        try:
            os.kill(child, signal.SIGHUP)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(fd)
    closing(end)

    def until(text, what):
        def look():
            try:
                shown.extend(os.read(fd, 4096))
            except (BlockingIOError, OSError):
                pass
            return text in shown
        wait_until(look, 10, lambda: f"{what}; it shows {bytes(shown)!r}")
        del shown[:shown.index(text) + len(text)]
    return child, fd, until


@test
def at_a_terminal_it_is_a_job_like_any_other():
    a, b = nodes()
    _, fd, until = terminal(b, "bash", "--norc", "--noprofile", "-i")
    until(b"READY ", "the shell")
    os.write(fd, f"{LANYARD} gate run -- sh -c 'read -r x; echo got $x; read -r x; echo and $x; cat'\n".encode())
    os.write(fd, b"one\n")
    until(b"got one", "its input")
    os.write(fd, b"\x1a")                             # ^Z
    until(b"Stopped", "the shell to have it stopped")
    until(b"READY ", "the shell")
    os.write(fd, b"fg\n")
    os.write(fd, b"two\n")
    until(b"and two", "its input after fg")
    lock(a, b)
    until(b"stopped: a requires another version", "the lock")
    os.write(fd, b"\x03")                             # ^C, which comes to us while it is stopped
    until(b"READY ", "the shell")
    os.write(fd, b"echo code $?\n")
    until(b"code 130", "its end by ^C")
    unlock(b)


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
    pid = descendants(n.process.pid)[0]
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


tap.main()
