"""Programs that run only while their device is not locked: lanyard gate run."""
import ctypes
import os
import pty
import signal
import subprocess

from gate import count, lock, states, text_of, unlock
from lanyard import LANYARD, closing, descendants, failed, fixture, group, on_hosts, tap, temp_dir, test, wait_until, write

PR_SET_CHILD_SUBREAPER = 36


@fixture
def nodes():
    return group("a", "b")


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


def stopped(pids):
    wait_until(lambda: states(pids) == "TT", 10, lambda: f"both stopped; they are {states(pids)}")


def going(pids):
    wait_until(lambda: not set("T-") & set(states(pids)), 10, lambda: f"both going on; they are {states(pids)}")


def begun(n):
    """A program and its child that run under the gate: gate run, and the two."""
    pid, argv = script("true")
    p = run(n, *argv)
    return p, started(pid)


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
    p, both = begun(b)
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
    p, both = begun(b)
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
    p, both = begun(b)
    lock(a, b)
    stopped(both)
    os.killpg(p.pid, signal.SIGKILL)
    going(both)
    p.stdin.close()                                  # of the program, too: nobody else holds it
    wait_until(lambda: set(states(both)) <= set("Z-"), 10, "its end")
    os.waitpid(both[0], 0)
    unlock(b)


@test
def what_came_while_it_could_not_look_is_obeyed():
    a, b = nodes()
    p, both = begun(b)
    p.send_signal(signal.SIGSTOP)
    lock(a, b)
    unlock(b)                                        # both are told in one piece
    p.send_signal(signal.SIGCONT)
    wait_until(lambda: "going on" in words(p), 10, lambda: words(p))
    going(both)
    for c in set(descendants(p.pid)) - {p.pid, *both}:
        os.kill(c, signal.SIGKILL)                   # its helper; that it is gone is no harm
    assert p.communicate(b"")[0] == b"" and p.returncode == 7, p.returncode


def family(line):
    """Starts a program with children that are not of its group, one of them an orphan: gate run's arguments, and who there is."""
    place = temp_dir(f"family{next(count)}")
    one = f"setsid sh -c '{line}; echo $$ >{place}/NAME.new; mv {place}/NAME.new {place}/NAME; exec tail -f /dev/null'"
    near, far = one.replace("NAME", "near"), one.replace("NAME", "far")
    argv = ("--", "sh", "-c", f'{near} & ({far} &); trap "" TERM; cat')

    def pids():
        paths = [os.path.join(place, name) for name in ("near", "far")]
        wait_until(lambda: all(map(os.path.exists, paths)), 10, "the family")
        return [int(text_of(path)) for path in paths]
    return argv, pids


@test
def processes_in_groups_of_their_own_are_stopped_too():
    a, b = nodes()
    argv, pids = family("true")
    p = run(b, *argv)
    both = pids()
    lock(a, b)
    stopped(both)
    unlock(b)
    going(both)
    lock(a, b)
    stopped(both)
    p.kill()
    going(both)                                      # its helper knows of them, too
    for one in both:
        os.kill(one, signal.SIGKILL)
    unlock(b)


@test
def with_term_nothing_is_left_after_the_grace():
    a, b = nodes()
    argv, pids = family('trap "" TERM')
    p = run(b, "--term", "--grace", "0.3", *argv)
    both = pids()
    lock(a, b)
    assert p.wait(20) == 6, p.returncode
    assert set(states(both)) <= set("Z-"), states(both)
    unlock(b)


@test
def a_signal_while_it_is_stopped_lets_it_go_on_for_the_grace():
    a, b = nodes()
    pid, argv = script("trap 'echo heard it' HUP; (trap '' HUP; exec tail -f /dev/null) & true")
    p = run(b, "--grace", "0.2", *argv)
    both = started(pid)
    lock(a, b)
    stopped(both)
    p.send_signal(signal.SIGHUP)
    wait_until(lambda: states(both)[1] == "-", 10, "cat to end by the signal")
    unlock(b)
    assert p.wait(20) == 7 and p.stdout.readline() == b"heard it\n"


@test
def it_goes_on_when_its_device_is_no_member_any_more():
    for away in (False, True):                       # does it hear of the end of the lock, or only that nothing can be asked any more?
        d, e = group("d", "e")
        pid, argv = script("true")
        p = run(e, *argv)
        both = started(pid)
        lock(d, e)
        stopped(both)
        if away:
            p.send_signal(signal.SIGSTOP)
            e.kill9()
        d.cli("device", "revoke", "e")
        if away:
            e.up(peers=[d])
            wait_until(lambda: e.status()["state"] == "error", 10, "e to hear of it")
            p.send_signal(signal.SIGCONT)
        going(both)
        wait_until(lambda: "going on" in words(p), 10, lambda: words(p))
        assert p.communicate(b"")[0] == b"" and p.returncode == 7, p.returncode


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


@test
def a_shell_at_a_terminal_has_its_jobs_back_after_a_lock():
    a, b = nodes()
    _, fd, until = terminal(b, LANYARD, "gate", "run", "--", "bash", "--norc", "--noprofile", "-i")
    until(b"READY ", "the shell")
    os.write(fd, b"sh -c 'echo be''gan; read -r x; echo got $x; read -r x; echo and $x'\n")
    until(b"began", "its job")
    lock(a, b)
    until(b"stopped: a requires another version", "the lock")
    os.write(fd, b"one\n")
    unlock(b)
    until(b"got one", "the job, in the foreground again")
    os.write(fd, b"two\n")
    until(b"and two", "its second line")
    until(b"READY ", "the shell")
    os.write(fd, b"exit 5\n")


on_hosts()
tap.main()
