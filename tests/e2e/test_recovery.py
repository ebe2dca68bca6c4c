"""A lost owner: whoever has the recovery phrase makes another device owner. Without it nobody can."""
import os
import pty
import re
import signal
import termios

from lanyard import LANYARD, failed, group, is_file_with, node, on_hosts, read, tap, test, wait_until, write

PHRASE = re.compile(r"(?:[0-9A-HJKMNP-TV-Z]{5}-){5}[0-9A-HJKMNP-TV-Z]")


def founded(name="a"):
    """A running owner, and the phrase that `lanyard init` showed."""
    n = node(name)
    phrase = n.cli("init", "--name", name, n.folder, json=True)["recovery"]
    assert PHRASE.fullmatch(phrase), phrase
    return n.up(), phrase


def joined(name, inviter):
    n = node(name)
    n.join(inviter.invite(), at=inviter.address)
    return n.up(peers=[inviter])


def recover(n, phrase, *options, **kw):
    return n.cli("device", "recover", *options, stdin=phrase.encode() + b"\nnot for you\n", **kw)


def members(n):
    return {d["name"]: "revoked" if d["revoked"] else d["role"] for d in n.cli("devices", json=True)}


def known(expected, *nodes):
    wait_until(lambda: all(members(n) == expected for n in nodes), 30, lambda: f"{expected}, not {[members(n) for n in nodes]}")


def secret_files(n):
    return b"".join(open(os.path.join(n.home, f), "rb").read() for f in ("device.key", "group.key", "control.log", "config"))


@test
def the_group_of_a_lost_owner_goes_on():
    a, phrase = founded()
    assert phrase.encode() not in secret_files(a)
    b = joined("b", a)
    c = joined("c", a)
    write(a.folder, "of-a", b"1")
    for n in (b, c):
        wait_until(lambda n=n: is_file_with(n.folder, "of-a", b"1"), 30, "the file of a")
    a.kill9()                                        # and is never found again
    b.down()
    b.up(peers=[c])
    b.wait()
    now = recover(b, phrase, "--revoke", "a", json=True)
    assert (now["name"], now["role"], now["revoked"]) == ("b", "owner", False) and PHRASE.fullmatch(now["recovery"]), now
    known({"a": "revoked", "b": "owner", "c": "member"}, b, c)
    write(c.folder, "of-c", b"2")
    wait_until(lambda: is_file_with(b.folder, "of-c", b"2"), 30, "b and c to go on")
    assert phrase.encode() not in secret_files(b) and now["recovery"].encode() not in secret_files(b)

    failed(recover(c, phrase, check=False), 5)       # that one is void
    again = recover(c, now["recovery"].lower().replace("-", " ")).out.splitlines()
    assert PHRASE.fullmatch(again[-1]) and again[-1] != now["recovery"] and "shown only now" in again[-2], again
    known({"a": "revoked", "b": "owner", "c": "owner"}, b, c)
    a.up(peers=[b])                                  # a thief
    wait_until(lambda: "revoked" in (a.status()["error"] or ""), 30, "a to hear of it")
    failed(a.cli("device", "recovery", "new", check=False), 5)
    failed(recover(a, again[-1], check=False), 5)


@test
def a_wrong_phrase_changes_nothing():
    a, phrase = founded()
    b = joined("b", a)
    known({"a": "owner", "b": "member"}, a, b)
    other = "00000-00000-00000-00000-00000-0"        # well formed
    mistyped = ("1" if phrase[0] != "1" else "2") + phrase[1:]
    before = [read(n.home, "control.log") for n in (a, b)]
    for typed, options, code, text in ((other, [], 5, "not the recovery phrase"), (mistyped, [], 5, "mistyped"), (phrase[:-2], [], 2, "too short"),
                                       ("", [], 2, "too short"), (phrase, ["--revoke", "x"], 1, "no device x"),
                                       (phrase, ["--revoke", "b"], 2, "this device")):
        done = recover(b, typed, *options, check=False)
        failed(done, code)
        assert text in done.err and typed[:11] not in done.err[9:] + "?" or not typed, (typed, done.err)
    failed(b.cli("device", "recover", check=False), 2)                # nothing at all on standard input
    failed(b.cli("device", "recovery", "new", check=False), 5)
    failed(b.cli("device", "recovery", "old", check=False), 2)
    failed(b.cli("device", "role", "b", "owner", "--revoke", "a", check=False), 2)
    assert [read(n.home, "control.log") for n in (a, b)] == before


@test
def a_group_without_a_phrase_gets_one():
    a, b = group("a", "b")                           # made with --no-recovery
    done = recover(b, "00000-00000-00000-00000-00000-0", check=False)
    failed(done, 1)
    assert "no recovery phrase" in done.err, done.err
    first = a.cli("device", "recovery", "new", json=True)["recovery"]
    second = a.cli("device", "recovery", "new", json=True)["recovery"]
    wait_until(lambda: read(a.home, "control.log") == read(b.home, "control.log"), 30, "b to have the records")
    failed(recover(b, first, check=False), 5)
    assert recover(b, second, json=True)["role"] == "owner"
    known({"a": "owner", "b": "owner"}, a, b)


def typed(n, keys):
    """Types that when `lanyard device recover` asks for the phrase on a terminal: its exit code, what the terminal shows, whether it echoes."""
    ours, its = pty.openpty()
    process = n.popen(LANYARD, "device", "recover", preexec_fn=lambda: os.login_tty(os.dup(its)))
    echoes = lambda: bool(termios.tcgetattr(its)[3] & termios.ECHO)
    shown = b""
    while not shown.endswith(b"Recovery phrase: "):
        shown += os.read(ours, 4096)
    wait_until(lambda: not echoes(), 10, "no echo")
    os.write(ours, keys)
    code, after = process.wait(), echoes()
    os.close(its)
    try:
        while True:
            shown += os.read(ours, 4096)
    except OSError:                                  # all has been read, and nobody is at the other end
        os.close(ours)
    return code, shown.decode(), after


@test
def what_is_typed_is_not_shown():
    n, phrase = founded()
    code, shown, echoes = typed(n, phrase.encode() + b"\n")
    assert code == 0 and echoes and phrase not in shown and "owner" in shown and len(PHRASE.findall(shown)) == 1, (code, shown)
    code, shown, echoes = typed(n, b"half\x03")      # given up: the terminal is as it was, and the signal counts
    assert code == -signal.SIGINT and echoes and "half" not in shown, (code, shown)


on_hosts()
tap.main()
