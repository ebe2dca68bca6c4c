"""A version that an admin requires: who is locked by it, when, and what it does to them."""
import time

from lanyard import exists, failed, group, is_file_with, same_trees, tap, test, wait_until, write


def gate(n):
    return n.cli("gate", json=True)


def standing(n, device):
    q = n.cli("require", "status", json=True)
    return next(d["state"] for d in q["devices"] if d["name"] == device) if q else None


def locked(n):
    wait_until(lambda: gate(n)["locked"], 10, f"{n.name} locked")


def unlocked(n):
    wait_until(lambda: not gate(n)["locked"], 10, f"{n.name} unlocked")


@test
def everybody_reaches_it_and_the_admin_sees():
    a, b, c = group("a", "b", "c")
    assert a.cli("require", "status", json=True) is None
    write(a.folder, "plan", b"of Monday")
    q = a.cli("require", "--message", "take the plan", "--until", "2h", json=True)
    assert (q["by"], q["message"], q["mode"]) == ("a", "take the plan", "auto") and q["until"] > q["since"], q
    assert {d["name"] for d in q["devices"]} == {"a", "b", "c"}
    wait_until(lambda: all(d["state"] == "reached" and d["since"] for d in a.cli("require", "status", json=True)["devices"]), 20, "all reached")
    for n in (b, c):
        assert is_file_with(n.folder, "plan", b"of Monday") and not gate(n)["locked"]
        required = n.status()["required"]
        assert required["reached"] and required["id"] == q["id"] and required["message"] == "take the plan", required
    assert standing(b, "c") == "reached"             # everybody sees it
    a.cli("require", "cancel")
    wait_until(lambda: b.status()["required"] is None, 10, "b to hear that it is over")
    failed(a.cli("require", "cancel", check=False), 1)


@test
def a_locked_device_waits_for_its_user_and_keeps_its_edits_to_itself():
    a, b = group("a", "b")
    write(a.folder, "plan", b"first")
    same_trees(a, b)
    b.cli("pause")                                   # b edits what a changes at the same time, later
    write(a.folder, "plan", b"second, as required")
    a.cli("scan")
    write(b.folder, "plan", b"written later, by somebody who did not know")
    b.cli("scan")
    q = a.cli("require", "--mode", "prompt", json=True)
    b.cli("resume")
    locked(b)
    assert b.status()["state"] == "locked" and b.status()["required"]["reached"] is False
    wait_until(lambda: standing(a, "b") == "locked", 10, "a to see b locked")
    write(b.folder, "mine", b"written while locked")
    b.cli("scan")
    a.cli("scan")
    assert not is_file_with(b.folder, "plan", b"second, as required") and not exists(a.folder, "mine")
    failed(b.cli("gate", "wait", "--timeout", "0.1", check=False), 6)
    failed(a.cli("gate", "accept", check=False), 1)
    b.kill9()
    b.up(peers=[a])
    assert gate(b)["locked"] and not exists(a.folder, "mine")     # a restart unlocks nobody
    b.cli("gate", "accept")
    b.cli("gate", "wait", "--timeout", "20")
    assert is_file_with(b.folder, "plan", b"second, as required")
    wait_until(lambda: standing(a, "b") == "reached", 10, "a to see that b has reached it")
    wait_until(lambda: is_file_with(a.folder, "mine", b"written while locked"), 10, "what was held back")
    same_trees(a, b)
    losers = [c for c in a.cli("conflicts", json=True) if c["path"] == "plan"]
    assert len(losers) == 1 and losers[0]["losers"][0]["device"] == "b", losers
    assert q["id"] == b.status()["required"]["id"]


@test
def it_ends_for_a_locked_device_when_it_is_cancelled_over_or_nobody_has_it():
    a, b = group("a", "b")
    b.cli("pause")
    write(a.folder, "f", b"1")
    a.cli("require", "--mode", "prompt")
    b.cli("resume")
    locked(b)
    a.cli("require", "cancel")
    unlocked(b)
    same_trees(a, b)
    b.cli("pause")
    write(a.folder, "f", b"2")
    end = time.time() + 3
    a.cli("require", "--mode", "prompt", "--until", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end + 1)))
    b.cli("resume")
    locked(b)
    unlocked(b)
    assert b.status()["required"] is None
    same_trees(a, b)


@test
def only_admins_and_only_what_can_be():
    a, b = group("a", "b")
    done = b.cli("require", check=False)
    failed(done, 5)
    assert "only an owner or admin" in done.err, done.err
    failed(b.cli("require", "cancel", check=False), 5)
    done = a.cli("require", "--until", "2001-01-01T00:00:00Z", check=False)
    failed(done, 1)
    assert "past" in done.err, done.err
    failed(a.cli("require", "--to", "nobody", check=False), 1)
    failed(a.cli("require", "--mode", "gentle", check=False), 2)
    failed(a.cli("require", "status", "abcdef", check=False), 1)
    failed(a.cli("require", "frobnicate", check=False), 2)
    assert a.cli("require", "status", json=True) is None


@test
def one_device_after_the_other():
    a, b, c = group("a", "b", "c")
    write(a.folder, "f", b"new")
    a.cli("require", "--to", "b", "--mode", "prompt")
    wait_until(lambda: standing(a, "b") in ("reached", "locked"), 10, "b to be asked")
    assert [d["name"] for d in a.cli("require", "status", json=True)["devices"]] == ["b"]
    assert c.status()["required"] is None and not gate(c)["locked"]


tap.main()
