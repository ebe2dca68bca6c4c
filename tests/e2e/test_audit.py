"""Who did what: written down by each device, the same list everywhere, and no byte of it can be changed unnoticed."""
import os
import sqlite3

from lanyard import exists, failed, group, node, on_hosts, read, tap, test, wait_until, write


def audit(n, *options):
    return n.cli("audit", *options, json=True)


def lines(n):
    """(device, what, about), oldest first, without ids of versions."""
    return [(a["device"], a["what"], a["about"]) for a in reversed(audit(n))]


def settle(*nodes):
    for n in nodes:
        n.settle(peers=len(nodes) - 1)


@test
def what_was_done_is_told_by_all_in_one_order():
    a, b, c = group("a", "b", "c")
    a.cli("device", "role", "b", "admin")
    write(a.folder, "doc", b"one")
    for i in range(150):
        write(a.folder, f"many/{i}", b"%d" % i)
    settle(a, b, c)
    a.cli("snapshot", "create", "before")
    os.unlink(f"{b.folder}/doc")
    settle(b, a, c)
    b.cli("restore", "doc")
    b.cli("device", "rename", "c", "gamma")
    b.cli("policy", "set", "max_file_size", "1G")
    settle(b, a, c)
    os.rename(f"{c.folder}/many", f"{c.folder}.away")     # so much at once that nobody believes it
    c.cli("scan")
    wait_until(lambda: c.status()["state"] == "error", 30, "c to ask")
    c.cli("resume", "--accept-deletions")
    settle(c, a, b)
    wait_until(lambda: not exists(a.folder, "many"), 30, "the deletions")
    a.cli("snapshot", "restore", "before")
    a.cli("snapshot", "remove", "before")
    settle(a, b, c)

    told = lines(a)
    version = [x["name"] for x in audit(a) if x["what"] == "restored" and x["device"] == "b"]
    assert told[:4] == [("a", "founded", "the group"), ("a", "joined", "b as member"), ("a", "joined", "c as member"), ("a", "role", "b: admin")], told
    assert told[4:6] == [("b", "restored", f"doc, {version[0]}"), ("b", "renamed", "c: gamma")], told
    assert told[6] == ("b", "policy", "max_file_size 1073741824"), told
    assert told[7:] == [("gamma", "confirmed", "150 deleted"), ("gamma", "deleted", "150 deleted"),
                        ("a", "restored", "before, 151 brought back"), ("a", "removed", "before")], told
    for n in (b, c):
        wait_until(lambda n=n: audit(n) == audit(a), 30, lambda n=n: f"the same on {n.name}: {lines(n)}")
    assert audit(b, "--limit", "2") == audit(a)[:2]
    assert audit(b, "--since", audit(a)[1]["time"]) == audit(a)[:2]
    table = c.cli("audit").out.splitlines()
    assert len(table) == len(told) + 1 and table[0].split() == ["WHEN", "DEVICE", "WHAT", "ABOUT"], table
    failed(a.cli("audit", "--since", "whenever", check=False), 2)
    failed(a.cli("audit", "--verify", "--limit", "1", check=False), 2)

    a.down()
    a.up(peers=[b, c])
    assert audit(a) == audit(b)
    assert all(n.cli("audit", "--verify", json=True)["ok"] for n in (a, b, c))
    assert exists(a.folder, ".lanyard") and not exists(a.folder, ".lanyard/notes")
    node("b").join(a.invite(), at=a.address)         # not the one that is called so already
    assert lines(a)[-1] == ("a", "joined", "b-2 as member"), lines(a)


# What somebody does who can write the files of a node, and what is said of it.
CHANGES = (
    ("UPDATE entry SET hlc = hlc + 1 WHERE seq = 3", "-3: the index says something else of it"),
    ("DELETE FROM entry WHERE seq = 4", "-4: is missing"),
    ("UPDATE header SET sig = zeroblob(64) WHERE first = 6", "signature"),
    ("INSERT INTO entry SELECT 0, stream, path, 100, live, kind, hlc, size, root_at, hash, raw FROM entry WHERE kind = 6", "-100: no change set has it"),
    ("UPDATE path SET winner = 0 WHERE CAST(name AS TEXT) LIKE '%notes/%'", ""),
    ("UPDATE entry SET raw = other(raw) WHERE kind = 6 AND seq < 100", "the entries are not those that were signed"),
    ("UPDATE entry SET live = 0 WHERE kind = 6 AND seq < 100", "the index hides a note"),
    ("DELETE FROM header WHERE first = 9", "-9: the change sets are missing"),
    ("DELETE FROM header WHERE first = 11", "-11: the change sets are missing"))


def change_index(n):
    db = sqlite3.connect(os.path.join(n.home, "index.db"))
    db.create_function("other", 1, lambda raw: raw.replace(b"restored", b"required"))
    for statement, _ in CHANGES:
        assert db.execute(statement).rowcount == 1, statement
    db.commit()
    db.close()


def faults(n):
    done = n.cli("audit", "--verify", "--json", check=False)
    assert done.code == 1 and "not what was signed" in done.err, (done.code, done.err)
    return done.out


@test
def every_change_of_it_is_found():
    a, b = group("a", "b")
    for i in range(5):
        write(a.folder, f"f{i}", b"%d" % i)
    a.cli("scan")
    write(a.folder, "f0", b"changed")
    a.cli("scan")
    a.cli("restore", "f0", "--version", a.cli("log", "f0", json=True)[-1]["version"])
    for i in range(1, 4):
        write(a.folder, f"f{i}", b"changed")
        a.cli("scan")
    settle(a, b)
    b.down()
    good = a.cli("audit", "--verify", json=True)
    assert good["ok"] and good["faults"] == [] and good["records"] == 2 and good["entries"] == 11, good
    assert "all is as it was signed" in a.cli("audit", "--verify").out

    path = os.path.join(a.home, "control.log")
    log = bytearray(read(a.home, "control.log"))
    for at in (20, len(log) // 2, len(log) - 1):     # the genesis, the record, its signature
        log[at] ^= 1
        with open(path, "r+b") as f:
            f.write(log)
        assert "control log" in faults(a)
        log[at] ^= 1
    for cut in (1, 300):                            # a record that is torn off, and what is missing behind it
        with open(path, "r+b") as f:
            f.truncate(len(log) - cut)
        assert "control log" in faults(a)
        with open(path, "wb") as f:
            f.write(log)
    assert a.cli("audit", "--verify", json=True)["ok"]

    a.down()
    change_index(a)
    a.up()
    found = faults(a)
    assert not [fault for _, fault in CHANGES if fault not in found], found
    said = [about for _, what, about in lines(a) if what == "said"]  # not hidden, whatever the index says, nor shown like an admin's record
    assert len(said) == 1 and said[0].startswith("required, f0"), said


on_hosts()
tap.main()
