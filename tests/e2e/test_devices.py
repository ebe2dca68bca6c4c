"""Roles, names and revocation: what an admin says counts at once, for all, and nobody says more than he may."""
import os

from lanyard import exists, failed, group, is_file_with, node, on_hosts, path_of, random_bytes, read, same_trees, tap, test, wait_until, write


def device(n, name):
    return next(d for d in n.cli("devices", json=True) if d["name"] == name)


def known(nodes, name, what, value):
    """Waits until all nodes know that about a device."""
    wait_until(lambda: all(any(d["name"] == name and d[what] == value for d in n.cli("devices", json=True)) for n in nodes), 30,
               f"{name}: {what} {value} on all")


def strays(n, path):
    return [v for v in n.cli("log", path, json=True) if v["version"].startswith("kept-")]


@test
def a_role_counts_at_once_and_everywhere():
    a, b, c = group("a", "b", "c")
    changed = a.cli("device", "role", "b", "reader", json=True)
    assert (changed["name"], changed["role"], changed["revoked"]) == ("b", "reader", False), changed
    known([a, b, c], "b", "role", "reader")
    write(b.folder, "by-reader", b"stays on b")
    write(a.folder, "by-owner", b"goes to b")
    wait_until(lambda: is_file_with(b.folder, "by-owner", b"goes to b"), 30, "b to receive")
    b.settle(peers=2)
    a.settle(peers=2)
    assert not exists(a.folder, "by-reader") and not exists(c.folder, "by-reader")
    failed(b.cli("snapshot", "create", "x", check=False), 5)
    assert b.status()["device"]["role"] == "reader"

    a.cli("device", "role", "b", "member")           # and what was changed meanwhile is recorded
    wait_until(lambda: is_file_with(c.folder, "by-reader", b"stays on b"), 30, "c to receive what b wrote")
    same_trees(a, b, c)


@test
def who_is_made_a_reader_has_what_it_had_not_passed_on():
    a, b = group("a", "b")
    write(a.folder, "edited", b"1" * 3000)
    same_trees(a, b)
    b.cli("pause")
    write(b.folder, "edited", b"2" * 4000)
    write(b.folder, "made", b"3" * 5000)
    b.cli("scan")
    a.cli("device", "role", "b", "reader")
    b.cli("resume")
    same_trees(a, b)
    for path, text in ("edited", b"2" * 4000), ("made", b"3" * 5000):
        own = next(v for v in b.cli("log", path, json=True) if v["size"] == len(text))
        assert own["available"] == "here" and not own["current"], own
        assert b.cli("cat", path, "--version", own["version"]).raw == text
        failed(b.cli("restore", path, "--version", own["version"], check=False), 5)
    a.cli("device", "role", "b", "member")
    known([a, b], "b", "role", "member")
    b.cli("restore", "made", "--version", own["version"])
    same_trees(a, b)
    assert read(a.folder, "made") == b"3" * 5000


@test
def a_reader_gets_what_comes_though_he_has_changed_it():
    a, b = group("a", "b")
    paths = ["edited", "deleted", "linked"]
    for path in paths:
        write(a.folder, path, b"first " + path.encode())
    same_trees(a, b)
    a.cli("device", "role", "b", "reader")
    known([a, b], "b", "role", "reader")
    write(b.folder, "edited", b"by the reader")
    write(b.folder, "made", b"by the reader, too")
    for path in ("deleted", "linked"):
        os.unlink(path_of(b.folder, path))
    os.symlink("edited", path_of(b.folder, "linked"))
    b.cli("scan")
    assert is_file_with(b.folder, "edited", b"by the reader") and not exists(b.folder, "deleted")   # until another version comes
    for path in paths + ["made"]:
        write(a.folder, path, b"second " + path.encode())
    a.cli("scan")
    same_trees(a, b)
    b.settle()
    assert all(read(a.folder, path).startswith(b"second") for path in paths)

    def kept(path):                                  # of no version: nobody else has it, and it is listed all the same
        wait_until(lambda: len(strays(b, path)) == 1, 30, f"what the reader had at {path} to be listed")
        row, = strays(b, path)
        assert row["device"] == "b" and row["holders"] == ["b"] and row["kind"] == "file" and row["available"] == "here", row
        assert not row["current"] and not row["conflict"] and not strays(a, path), row
        return row["version"], b.cli("cat", path, "--version", row["version"]).raw

    mine = [(path, *kept(path)) for path in ("edited", "made", "linked")]
    assert [data for _, _, data in mine] == [b"by the reader", b"by the reader, too", b"edited"], mine
    assert [v["size"] for v in b.cli("log", "deleted", json=True)] == [len("second deleted"), len("first deleted")]

    b.cli("gc")                                      # packed
    assert not os.listdir(os.path.join(b.folder, ".lanyard", "kept")) or all(b.cli("cat", p, "--version", v).raw == d for p, v, d in mine)
    os.unlink(path_of(a.folder, "made"))
    a.cli("scan")
    b.settle()
    assert [v["version"] for v in b.cli("log", "--deleted", json=True) if v["path"] == "made" and v["device"] == "b"] == [mine[1][1]]
    failed(b.cli("restore", "made", "--version", mine[1][1], check=False), 5)
    failed(b.cli("cat", "made", "--version", "kept-00", check=False), 1)
    a.cli("device", "role", "b", "member")
    known([a, b], "b", "role", "member")
    for path, version, _ in mine[:2]:
        assert b.cli("restore", path, "--version", version, json=True)["device"] == "b"
    same_trees(a, b)
    assert [read(a.folder, path) for path in ("edited", "made")] == [b"by the reader", b"by the reader, too"]


@test
def an_admin_may_what_an_admin_may():
    a, b, c = group("a", "b", "c")
    failed(b.cli("device", "role", "c", "reader", check=False), 5)
    failed(b.cli("device", "rename", "c", "x", check=False), 5)
    failed(b.cli("device", "revoke", "b", check=False), 5)
    a.cli("device", "role", "b", "admin")
    known([b], "b", "role", "admin")
    assert b.cli("device", "role", "c", "admin", json=True)["role"] == "admin"
    for refused in (["role", "c", "owner"], ["role", "a", "member"], ["revoke", "a"], ["rename", "a", "x"]):
        failed(b.cli("device", *refused, check=False), 5)
    known([a, c], "c", "role", "admin")
    assert device(a, "a")["role"] == "owner"
    b.invite()                                       # an admin may invite, from now on


@test
def there_is_always_an_owner():
    a, b = group("a", "b")
    for refused in (["role", "a", "admin"], ["revoke", "a"]):
        done = a.cli("device", *refused, check=False)
        failed(done, 5)
        assert "only owner" in done.err, done.err
    a.cli("device", "role", "b", "owner")
    known([b], "b", "role", "owner")
    assert b.cli("device", "role", "a", "member", json=True)["role"] == "member"
    known([a], "a", "role", "member")
    failed(a.cli("device", "role", "a", "owner", check=False), 5)
    failed(b.cli("device", "revoke", "b", check=False), 5)


@test
def a_device_gets_another_name():
    a, b = group("a", "b")
    ident = device(a, "b")["id"]
    assert a.cli("device", "rename", "b", "Küche", json=True)["name"] == "Küche"
    known([a, b], "Küche", "id", ident)
    assert b.status()["device"]["name"] == "Küche" and a.status()["peers"][0]["name"] == "Küche"
    a.cli("device", "rename", ident[:8], "shed")     # by its id, too
    known([b], "shed", "id", ident)
    write(b.folder, "f", b"1")
    b.settle()
    a.settle()
    assert [v["device"] for v in a.cli("log", os.path.join(a.folder, "f"), json=True)] == ["shed"]
    b.down()
    b.up(peers=[a])
    known([b], "shed", "id", ident)


@test
def what_cannot_be_done_is_said():
    a, b = group("a", "b")
    for words, code, text in ((["role", "nobody", "reader"], 1, "no device nobody"), (["revoke", "nobody"], 1, "no device nobody"),
                              (["rename", "nobody", "x"], 1, "no device nobody"), (["rename", "b", "a"], 1, "there is a device a"),
                              (["role", "b", "king"], 2, "choose owner"), (["rename", "b", "x/y"], 2, "name"),
                              (["role", "b"], 2, "device role NAME ROLE"), (["revoke", "b", "c"], 2, "device revoke NAME"),
                              (["promote", "b"], 2, "promote"), ([], 2, "")):
        done = a.cli("device", *words, check=False)
        failed(done, code)
        assert text in done.err, (words, done.err)
    before = a.cli("devices", json=True)
    a.cli("device", "role", "b", "member")           # is so already: no record for nothing
    a.cli("device", "rename", "b", "b")
    assert a.cli("devices", json=True) == before
    assert not [e for e in a.events() if e["event"] == "members-changed" and e["time"] > before[1]["added"]]
    assert a.cli("device", "--help").out.count("revoke") > 1
    prefix = device(a, "a")["id"][:6]
    a.cli("device", "rename", "b", prefix)           # who is called like another's id stands for neither of them
    for command in (["device", "revoke", prefix], ["require", "--to", prefix]):
        done = a.cli(*command, check=False)
        failed(done, 1)
        assert "fits 2 devices" in done.err, done.err


def key(n):
    return read(n.home, "group.key")


@test
def who_was_away_gets_the_new_key_from_a_third_device():
    a, b, c, d = group("a", "b", "c", "d")
    d.down()
    old = key(a)
    a.cli("device", "revoke", "b")
    wait_until(lambda: key(c) == key(a) != old, 30, "c to have the new key")
    write(a.folder, "secret", b"not for b")
    same_trees(a, c)
    a.down()                                         # who has renewed it is away when d returns, to one who remains and to the revoked one
    d.up(peers=[b, c])
    wait_until(lambda: key(d) == key(c), 30, "d to have the new key")
    same_trees(c, d)
    assert not d.status()["error"] and key(b) == old and not exists(b.folder, "secret")


@test
def a_revoked_device_is_out_at_once_and_knows_why():
    a, b, c = group("a", "b", "c")
    write(b.folder, "of-b", b"written before")
    b.settle(peers=2)
    same_trees(a, b, c)
    old = key(b)
    assert old == key(a) == key(c)
    gone = a.cli("device", "revoke", "b", json=True)
    assert gone["revoked"]
    wait_until(lambda: b.status()["state"] == "error", 30, "b to hear of it")
    assert "this device was revoked by a" in b.status()["error"], b.status()["error"]
    known([c], "b", "revoked", True)
    wait_until(lambda: not any(p["online"] for n in (a, b, c) for p in n.status()["peers"] if "b" in (p["name"], n.name)), 9,
               "all links of b to end at once, and not for want of answers")
    wait_until(lambda: all([p["online"] for p in n.status()["peers"]] == [True] for n in (a, c)), 30, "a and c to be together again")

    wait_until(lambda: key(c) == key(a), 30, "c to have the new key")
    assert key(a) != old and key(b) == old
    for denied in (["invite"], ["device", "revoke", "a"], ["wait", "--timeout", "5"], ["snapshot", "create", "x"]):
        failed(b.cli(*denied, check=False), 5)
    write(b.folder, "later", b"stays on b")
    write(a.folder, "secret", b"not for b")
    b.cli("scan")
    a.settle()
    c.settle()
    assert read(c.folder, "secret") == b"not for b" and not exists(b.folder, "secret")
    assert not exists(a.folder, "later") and not exists(c.folder, "later")
    assert read(b.folder, "of-b") == read(c.folder, "of-b") == b"written before"
    failed(a.cli("device", "role", "b", "admin", check=False), 1)
    b.down()
    b.up(peers=[a, c])                               # it remembers
    assert "revoked by a" in b.status()["error"]


@test
def a_device_that_was_away_hears_that_it_was_revoked():
    a, b, c = group("a", "b", "c")
    b.down()
    a.cli("device", "revoke", "b")
    known([c], "b", "revoked", True)
    write(b.folder, "while-away", b"stays on b")
    b.up(peers=[a])
    wait_until(lambda: "revoked" in (b.status()["error"] or ""), 30, "b to hear of it")
    failed(b.cli("wait", "--timeout", "5", check=False), 5)
    assert not exists(a.folder, "while-away")
    again = node("again")                            # a new home is a new device
    again.join(a.invite(), at=a.address)
    again.up(peers=[a])
    again.wait(60)
    c.kill9()
    c.up(peers=[a])
    assert not any(n.status()["error"] for n in (a, c, again))


def apart(*nodes):
    """They do not speak with each other until each has resumed."""
    for n in nodes:
        n.cli("pause")
    wait_until(lambda: not any(p["online"] for n in nodes for p in n.status()["peers"]), 30, "no links")


def lost(n):
    return [e for e in n.events() if e["event"] == "control-record-lost"]


def members(n):
    return sorted((d["id"], d["name"], d["role"], d["revoked"]) for d in n.cli("devices", json=True))


def agree(*nodes):
    """Waits until all have the same members, and returns their names."""
    wait_until(lambda: all(members(n) == members(nodes[0]) for n in nodes), 60, lambda: f"the same members: {[members(n) for n in nodes]}")
    return {name for _, name, _, revoked in members(nodes[0]) if not revoked}


def two_admins():
    a, b = group("a", "b")
    a.cli("device", "role", "b", "admin")
    known([a, b], "b", "role", "admin")
    return a, b


def joined(name, inviter):
    n = node(name)
    n.join(inviter.invite(), at=inviter.address)
    return n.up(peers=[inviter])


@test
def both_sides_of_a_split_network_add_devices():
    a, b = two_admins()
    apart(a, b)
    c, d = joined("c", a), joined("d", b)
    e = joined("e", b)
    a.cli("resume")
    b.cli("resume")
    assert agree(a, b, c, d, e) == {"a", "b", "c", "d", "e"}
    assert not any(lost(n) for n in (a, b, c, d, e))
    write(c.folder, "of-c", b"c")
    write(d.folder, "of-d", b"d")
    same_trees(a, b, c, d, e, timeout=60)
    for n in (a, b, c, d, e):
        n.wait(60, 1)
    b.down()
    b.up(peers=[a])                                  # the log that was switched to is one
    assert agree(a, b) == {"a", "b", "c", "d", "e"}


@test
def both_sides_of_a_split_network_revoke_somebody():
    a, b = two_admins()
    c, d = joined("c", a), joined("d", a)
    known([b, c], "d", "role", "member")
    apart(a, b, c, d)
    old = key(a)
    a.cli("device", "revoke", "c")
    b.cli("device", "revoke", "d")
    apart_keys = {old, key(a), key(b)}
    assert len(apart_keys) == 3
    for n in (a, b, c, d):
        n.cli("resume")
    known([a, b], "c", "revoked", True)
    known([a, b], "d", "revoked", True)
    wait_until(lambda: key(a) == key(b) not in apart_keys, 30, "a new key for those who are left")
    for n in (c, d):
        wait_until(lambda n=n: "revoked" in (n.status()["error"] or ""), 30, f"{n.name} to hear of it")
        assert key(n) != key(a)
    assert not a.status()["error"] and not b.status()["error"]


@test
def what_lost_is_signed_again_by_whoever_signed_it():
    a, b = two_admins()
    c = joined("c", a)
    known([b], "c", "role", "member")
    apart(a, b, c)
    a.cli("device", "role", "c", "reader")
    a.cli("device", "rename", "a", "alpha")
    b.cli("device", "rename", "c", "gamma")
    for n in (a, b, c):
        n.cli("resume")
    known([a, b, c], "gamma", "role", "reader")
    assert agree(a, b, c) == {"alpha", "b", "gamma"}


@test
def a_revoked_admin_cannot_undo_it():
    a, b = two_admins()
    c = joined("c", a)
    known([b], "c", "role", "member")
    apart(a, b, c)
    a.cli("device", "revoke", "b")
    d = joined("d", b)                               # the admin does not know yet, or does not care
    b.cli("device", "rename", "c", "mine")
    b.cli("device", "revoke", "mine")
    for n in (a, b, c):
        n.cli("resume")
    wait_until(lambda: "revoked by a" in (b.status()["error"] or ""), 60, "b to hear of it")
    assert agree(a, c) == {"a", "c"}
    assert {e["what"] for e in lost(b)} == {"add d as member", "rename c to mine", "revoke c"}, lost(b)
    failed(b.cli("invite", check=False), 5)
    write(a.folder, "f", b"1")
    wait_until(lambda: is_file_with(c.folder, "f", b"1"), 60, "c to go on with a")
    assert not exists(d.folder, "f")

def alone(n):
    """It hears nothing more until it resumes, and the others go on."""
    n.cli("pause")
    wait_until(lambda: not any(p["online"] for p in n.status()["peers"]), 30, f"{n.name} to be alone")


def recorded(n, *others):
    """What was done to its folder is there on the others, whoever else is to be heard of."""
    n.cli("scan")
    same_trees(n, *others)


@test
def what_a_revoked_device_writes_on_counts_for_nobody():
    a, b, c = group("a", "b", "c")
    write(a.folder, "of-a", b"of the owner")
    write(b.folder, "of-b", b"written before")
    write(b.folder, "gone", b"deleted later")
    a.settle(peers=2)
    b.settle(peers=2)
    same_trees(a, b, c)
    alone(a)
    big = random_bytes(7, 300_000)
    write(b.folder, "of-b", b"written later")
    write(b.folder, "of-a", b"overwritten")
    write(b.folder, "new/deep/file", big)
    os.unlink(os.path.join(b.folder, "gone"))
    recorded(b, c)
    write(c.folder, "of-c", b"honest")
    recorded(c, b)
    a.cli("device", "revoke", "b")
    a.cli("resume")
    wait_until(lambda: "revoked by a" in (b.status()["error"] or ""), 60, "b to hear of it")
    same_trees(a, c, timeout=60)
    assert read(c.folder, "of-a") == b"of the owner" and read(c.folder, "of-b") == b"written before"
    assert read(c.folder, "gone") == b"deleted later" and read(a.folder, "of-c") == b"honest"
    assert not exists(c.folder, "new") and c.status()["conflicts"] == 0
    # Whoever had it can still read it; the revoked device keeps its files.
    path = os.path.join(c.folder, "new/deep/file")
    (version,) = c.cli("log", path, json=True)
    assert (version["device"], version["current"], version["available"]) == ("b", False, "here"), version
    assert c.cli("cat", path).raw == big
    assert read(b.folder, "of-b") == b"written later" and read(b.folder, "new/deep/file") == big
    c.cli("restore", path)
    c.settle()
    assert read(a.folder, "new/deep/file") == big    # brought back by somebody who may
    # What counts of it comes also to who was not there yet.
    late = node("late")
    late.join(a.invite(), at=a.address)
    late.up(peers=[c]).wait()
    same_trees(a, c, late)
    assert all(n.cli("audit", "--verify", json=True)["ok"] for n in (a, c, late))     # also with what was withdrawn


@test
def a_crash_while_it_is_withdrawn():
    a, b, c = group("a", "b", "c")
    write(a.folder, "stays", b"1")
    a.settle(peers=2)
    alone(a)
    for i in range(200):
        write(b.folder, f"later/{i}", b"%d" % i)
    write(b.folder, "stays", b"2")
    recorded(b, c)
    a.cli("device", "role", "b", "reader")
    a.cli("resume")
    wait_until(lambda: not exists(c.folder, "later/0"), 30, "it to go from c")
    c.kill9()
    c.up(peers=[a, b])
    same_trees(a, b, c, timeout=60)
    assert read(c.folder, "stays") == b"1" and not exists(c.folder, "later")
    for n in (a, b, c):
        n.wait(60, 2)


on_hosts()
tap.main()
