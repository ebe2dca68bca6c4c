"""A version that an admin requires: who is locked by it, when, and what it does to them."""
import csv
import io
import os
import subprocess
import time

from lanyard import (LANYARD, SLOW, exists, failed, group, is_file_with, node, on_hosts, path_of, random_bytes, read, same_trees, tap, temp_dir, test,
                     wait_until, write)


def gate(n):
    return n.cli("gate", json=True)


def standings(n, *args):
    """What `require status` prints, whether all have reached it or not."""
    return n.cli("require", "status", *args, json=True, check=False)


def standing(n, device):
    q = standings(n)
    return next(d["state"] for d in q["devices"] if d["name"] == device) if q else None


def locked(n):
    wait_until(lambda: gate(n)["locked"], 10, f"{n.name} locked")


def fetched(n, size):
    wait_until(lambda: n.status()["fetched"]["bytes"] >= size, 30, f"{size} bytes on {n.name}")


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
    q = a.cli("require", "status", "--wait", "--timeout", "20", json=True)
    assert all(d["state"] == "reached" and d["since"] for d in q["devices"]), q
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
    assert [x["device"] for x in a.cli("audit", json=True) if x["what"] == "accepted"] == ["b"]


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
    end = time.time() + 4 * SLOW                     # time enough for b to be seen locked
    a.cli("require", "--mode", "prompt", "--until", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end)))
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
    failed(a.cli("require", "--csv", check=False), 2)
    failed(a.cli("require", "status", "--to", "b", check=False), 2)
    failed(a.cli("require", "--timeout", "3", check=False), 2)
    for words in (["--timeout", "3"], ["accept", "--reason", "none"], ["wait", "--term"], ["run", "--timeout", "3", "--", "true"]):
        done = a.cli("gate", *words, check=False)    # nothing that is asked for is passed over in silence
        failed(done, 2)
        assert "is only for" in done.err, done.err
    assert a.cli("require", "status", json=True) is None


@test
def one_device_after_the_other():
    a, b, c = group("a", "b", "c")
    write(a.folder, "f", b"new")
    a.cli("require", "--to", "b", "--mode", "prompt")
    wait_until(lambda: standing(a, "b") in ("reached", "locked"), 10, "b to be asked")
    assert [d["name"] for d in standings(a)["devices"]] == ["b"]
    assert c.status()["required"] is None and not gate(c)["locked"]


@test
def who_would_be_locked_by_how_much_is_known_before():
    a, b, c = group("a", "b", "c")
    write(a.folder, "old", b"x" * 10)
    write(a.folder, "same", b"w" * 1000)
    same_trees(a, b, c)
    for n in (b, c):
        wait_until(lambda n=n: a.cli("require", "--dry-run", "--to", n.name, json=True)["devices"][0]["state"] == "reached", 10, n.name)
    b.cli("pause")
    c.down()
    write(a.folder, "new", b"y" * 5000)
    write(a.folder, "old", b"z" * 70)
    plan = {d["name"]: d for d in a.cli("require", "--dry-run", "--mode", "strict", json=True)["devices"]}
    assert (plan["a"]["state"], plan["b"]["state"], plan["c"]["state"]) == ("reached", "behind", "behind"), plan
    assert plan["b"]["missing"] == plan["c"]["missing"] == {"files": 2, "bytes": 5070}, plan
    assert not plan["c"]["online"] and plan["c"]["last_seen"], plan
    assert "5.0 KiB" in a.cli("require", "--dry-run").out
    assert a.cli("require", "status", json=True) is None and a.status()["required"] is None
    failed(b.cli("require", "--dry-run", check=False), 5)


@test
def scripts_wait_until_all_have_reached_it():
    a, b, c = group("a", "b", "c")
    assert a.cli("require", "status", "--wait", json=True) is None
    c.down()
    write(a.folder, "f", b"new")
    failed(a.cli("require", "--wait", "--timeout", "0.3", check=False), 3)
    wait_until(lambda: standing(a, "b") == "reached", 10, "b has reached it")
    done = a.cli("require", "status", check=False)
    assert done.code == 1 and done.err == "lanyard: 2 of 3 devices have reached it\n" and "2 of 3 devices" in done.out, (done.out, done.err)
    lines = list(csv.DictReader(io.StringIO(a.cli("require", "status", "--csv", check=False).out)))
    assert [(d["name"], d["state"], d["online"]) for d in lines] == [
        ("a", "reached", "true"), ("b", "reached", "true"), ("c", lines[2]["state"], "false")] and lines[2]["state"] != "reached", lines
    waiting = a.popen(LANYARD, "require", "status", "--wait", "--watch", stdout=subprocess.PIPE)
    wait_until(lambda: waiting.stdout.readline() == b"2 of 3 devices have reached it\n", 10, "what is watched")
    c.up(peers=[a])
    assert waiting.communicate(timeout=30 * SLOW)[0] == b"3 of 3 devices have reached it\n" and waiting.returncode == 0
    assert a.cli("require", "status").code == 0
    c.down()
    q = a.cli("require", json=True)
    waiting = a.popen(LANYARD, "require", "status", "--wait", q["id"], stderr=subprocess.PIPE)
    watching = a.popen(LANYARD, "require", "status", "--wait", "--watch", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: b"of 3 devices" in watching.stdout.readline(), 10, "what is watched")
    a.cli("require", "cancel")                       # the one before, which all have reached, counts again: not for those who wait
    for p in (waiting, watching):
        assert b"cancelled" in p.communicate(timeout=30 * SLOW)[1] and p.returncode == 1, p.returncode


@test
def receipts_prove_it_to_those_who_have_no_node():
    a, b, c = group("a", "b", "c")
    c.down()
    write(a.folder, "f", b"new")
    q = a.cli("require", "--message", "take it", json=True)
    signed = wait_until(lambda: all(d["signed"] for d in standings(a)["devices"][:2]) and standings(a)["devices"][1]["signed"], 10, "receipts")
    assert [d["partial"] for d in standings(a)["devices"][:2]] == [False, False]
    proof, outside = os.path.join(temp_dir("proof"), "receipts"), node("outside")
    a.kill9().up(peers=[b])
    a.cli("require", "export", proof)
    failed(a.cli("require", "export", proof, check=False), 1)
    failed(a.cli("require", "export", "0000", proof + "2", check=False), 1)
    failed(b.cli("require", "export", proof + "2", check=False), 5)
    seen = outside.cli("require", "verify", proof, json=True)
    assert (seen["group"], seen["id"], seen["by"], seen["message"]) == (a.status()["group"]["id"], q["id"], "a", "take it"), seen
    assert [(d["name"], d["state"], bool(d["signed"])) for d in seen["devices"]] == [
        ("a", "reached", True), ("b", "reached", True), ("c", "unknown", False)], seen
    assert seen["devices"][1]["signed"] == signed    # a restart loses none
    last = max(x["time"] for x in a.cli("audit", json=True) if x["record"].startswith("control"))
    assert seen["as_of"] == last, (seen, last)
    done = subprocess.run([LANYARD, "require", "verify", proof], env={}, capture_output=True, check=True)      # nowhere at home
    shown = done.stdout.decode()
    assert seen["group"] in shown and "2 of 3 devices" in shown, shown
    with open(proof, "rb") as f:
        data = bytearray(f.read())
    data[len(data) * 2 // 3] ^= 1
    with open(proof + ".bad", "wb") as f:
        f.write(data)
    done = outside.cli("require", "verify", proof + ".bad", check=False)
    failed(done, 1)
    assert "proves nothing" in done.err, done.err
    a.cli("require", "cancel")
    a.cli("device", "rename", "b", "other")          # what follows in the log changes no receipt
    a.cli("device", "revoke", "c")
    a.cli("require", "export", q["id"][:8], proof + "3")
    again = outside.cli("require", "verify", proof + "3", json=True)
    assert again["cancelled"] and [(d["name"], d["signed"]) for d in again["devices"]] == [
        ("a", seen["devices"][0]["signed"]), ("other", seen["devices"][1]["signed"])], again


@test
def who_leaves_files_out_does_not_pass_for_one_who_has_them():
    a, b = group("a", "b")
    write(b.folder, ".lanyard/ignore", b"evidence\n")
    b.cli("scan")
    write(a.folder, "evidence", b"x" * 5000)
    a.cli("require", "--wait", "--timeout", "20")
    seen = wait_until(lambda: all(d["signed"] for d in standings(a)["devices"]) and standings(a), 10, "receipts")
    assert not exists(b.folder, "evidence") and [d["partial"] for d in seen["devices"]] == [False, True], seen
    assert "leaves files out" in a.cli("require", "status").out
    proof = os.path.join(temp_dir("proof"), "receipts")
    a.cli("require", "export", proof)
    assert [d["partial"] for d in a.cli("require", "verify", proof, json=True)["devices"]] == [False, True]
    assert "leaves files out" in a.cli("require", "verify", proof).out


@test
def a_locked_reader_is_told_what_is_in_the_way():
    (a,), c = group("a"), node("c")
    c.join(a.invite(role="reader"), at=a.address)
    c.up(peers=[a])
    os.mkdir(path_of(c.folder, "plan"))
    write(c.folder, "plan/own", b"a reader's, of which nobody knows")
    c.cli("scan")
    write(a.folder, "plan", b"a file")
    a.cli("require")
    locked(c)
    wait_until(lambda: gate(c).get("waits_for") == ["plan"], 10, lambda: gate(c))
    assert "waits for    plan" in c.cli("gate").out
    os.rename(path_of(c.folder, "plan"), path_of(c.folder, "mine"))
    c.cli("gate", "wait", "--timeout", "20")
    assert is_file_with(c.folder, "plan", b"a file") and "waits_for" not in gate(c)


@test
def in_an_emergency_a_user_goes_on_and_the_admin_sees_it():
    a, b = group("a", "b")
    write(a.folder, "plan", b"first")
    same_trees(a, b)
    failed(b.cli("gate", "override", "--reason", "not locked at all", check=False), 1)
    b.cli("pause")
    write(a.folder, "plan", b"required" * 1000)
    a.cli("require", "--mode", "prompt")
    b.cli("resume")
    locked(b)
    write(b.folder, "mine", b"written while locked")
    b.cli("scan")
    failed(b.cli("gate", "override", check=False), 2)
    failed(b.cli("gate", "override", "--reason", "two\nlines", check=False), 2)
    assert gate(b)["locked"]
    with open(path_of(b.folder, "plan"), "ab"):      # in use: what is required cannot take its place
        assert not b.cli("gate", "override", "--reason", "the court closes at noon", json=True)["locked"]
        event = next(e for e in b.events() if e["event"] == "overridden")
        assert (event["by"], event["reason"]) == ("a", "the court closes at noon"), event
        seen = wait_until(lambda: next((d for d in standings(a)["devices"] if d["overridden"]), None), 10, "a to see it")
        assert seen["state"] == "behind" and seen["since"] and "overridden" in a.cli("require", "status", check=False).out, seen
        b.kill9().up(peers=[a])
        assert not gate(b)["locked"]                 # for this requirement it stays so
    same_trees(a, b)                                 # what was held back, and what is required
    wait_until(lambda: standing(a, "b") == "reached", 10, "b at the end")
    assert [(x["device"], x["reason"]) for x in a.cli("audit", json=True) if x["what"] == "overrode"] == [("b", event["reason"])]


@test
def who_is_killed_goes_on_where_he_was():
    a, b = group("a", "b")
    b.cli("pause")
    write(a.folder, "plan", b"as required" * 100000)
    a.cli("require", "--mode", "prompt")
    a.kill9()                                        # it is in the control log; nobody has heard of it
    a.up(peers=[b])
    b.cli("resume")
    locked(b)
    b.kill9()
    b.up(peers=[a])
    assert gate(b)["locked"] and not exists(b.folder, "plan")
    wait_until(lambda: gate(b)["waits"], 10, "b to be asked still")
    b.cli("gate", "accept")
    b.kill9()                                        # it may be getting the file, or have put it in place
    b.up(peers=[a])
    b.cli("gate", "wait", "--timeout", "20")
    assert is_file_with(b.folder, "plan", b"as required" * 100000)
    b.kill9()                                        # its admin may not have heard that it has reached it
    b.up(peers=[a])
    assert b.status()["required"]["reached"] and not gate(b)["locked"]
    wait_until(lambda: standing(a, "b") == "reached", 10, "a to see that b has reached it")
    b.cli("pause")
    write(a.folder, "plan", b"another one")
    a.cli("require", "--mode", "prompt")
    b.cli("resume")
    locked(b)
    b.kill9()
    a.cli("require", "cancel")
    a.kill9()                                        # it is in the control log; nobody has heard of it
    a.up()
    b.up(peers=[a])
    unlocked(b)
    same_trees(a, b)
    assert b.status()["required"] is None


@test
def who_is_killed_while_it_comes_goes_on_with_it():
    a, b = group("a", "b")
    big = random_bytes("image", 24 << 20)
    write(a.folder, "image", b"of before")
    same_trees(a, b)
    a.down()
    a.cli("config", "set", "rate.up", "6MB")         # so that it takes long enough to be killed in the middle
    a.up(peers=[b])
    b.cli("pause")                                   # or it may have come before the requirement
    write(a.folder, "image", big)
    a.cli("require")
    b.cli("resume")
    locked(b)
    fetched(b, 6 << 20)
    b.kill9()
    b.up(peers=[a])
    assert gate(b)["locked"] and read(b.folder, "image") == b"of before"
    fetched(b, 3 << 20)
    a.kill9()                                        # nobody else has it: b waits for it to come back
    a.up(peers=[b])
    assert gate(b)["locked"] and read(b.folder, "image") == b"of before"
    b.cli("gate", "wait", "--timeout", "60")
    assert read(b.folder, "image") == big and b.status()["fetched"]["bytes"] < (24 - 5 << 20), "what was here is fetched again"
    a.cli("require", "status", "--wait", "--timeout", "20")


on_hosts()
tap.main()
