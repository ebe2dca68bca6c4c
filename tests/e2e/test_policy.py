"""What admins lay down for all devices: who may, what it does, and that it comes everywhere."""
import os

from lanyard import exists, failed, group, is_file_with, on_hosts, same_trees, tap, test, wait_until, write


def policy(n, key):
    return n.cli("policy", "get", key, json=True)["value"]


def heard(key, value, *nodes):
    for n in nodes:
        wait_until(lambda n=n: policy(n, key) == value, 10, f"{n.name} to hear of {key}")


@test
def admins_set_it_and_all_hear_of_it():
    a, b = group("a", "b")
    table = {row["key"]: row for row in b.cli("policy", json=True)}
    assert len(table) == 5 and all(row["value"] == row["default"] and not row["set"] for row in table.values()), table
    failed(b.cli("policy", "set", "max_file_size", "1M", check=False), 5)
    for key, value in (("max_file_size", "much"), ("max_file_size", "65T"), ("history.min_days", "-1"), ("history.min_days", "40000"),
                       ("require.modes", "gentle"), ("require.modes", ""), ("require.override", "yes"), ("ignore", "a" * 5000),
                       ("colour", "green")):
        failed(a.cli("policy", "set", key, value, check=False), 2)
    failed(a.cli("policy", "get", "colour", check=False), 1)
    a.cli("policy", "set", "max_file_size", "1M")
    a.cli("policy", "set", "require.modes", "auto,prompt")
    heard("require.modes", "auto,prompt", b)
    assert policy(b, "max_file_size") == 1 << 20
    b.kill9().up(peers=[a])
    assert policy(b, "max_file_size") == 1 << 20
    assert b.cli("policy", "get", "max_file_size").out == "1048576\n" and "set" in b.cli("policy").out
    failed(a.cli("require", "--mode", "strict", check=False), 5)
    a.cli("policy", "unset", "max_file_size")
    heard("max_file_size", 0, b)


@test
def what_is_ignored_is_taken_nowhere():
    a, b = group("a", "b")
    write(a.folder, "old.tmp", b"was here before")
    same_trees(a, b)
    a.cli("policy", "set", "ignore", "*.tmp\n/private/")
    assert a.cli("policy", "get", "ignore").out == "*.tmp\n/private/\n"
    heard("ignore", "*.tmp\n/private/", b)
    write(b.folder, ".lanyardignore", b"!*.tmp\n")            # nobody takes in again what the policy leaves out
    write(b.folder, "new.tmp", b"1")
    write(b.folder, "private/key", b"2")
    write(b.folder, "old.tmp", b"changed")
    write(b.folder, "seen", b"3")
    b.settle()
    wait_until(lambda: is_file_with(a.folder, "seen", b"3"), 10, "what is not ignored")
    assert not exists(a.folder, "new.tmp") and not exists(a.folder, "private") and is_file_with(a.folder, "old.tmp", b"was here before")
    a.cli("policy", "unset", "ignore")
    wait_until(lambda: exists(a.folder, "new.tmp") and exists(a.folder, "private/key"), 10, "what was ignored")
    same_trees(a, b)


@test
def a_file_that_is_too_large_stays_where_it_is():
    a, b = group("a", "b")
    write(a.folder, "grows", b"x" * 100)
    write(a.folder, "big before", b"x" * 5000)
    same_trees(a, b)
    a.cli("policy", "set", "max_file_size", "2000")
    heard("max_file_size", 2000, b)
    write(b.folder, "big", b"y" * 3000)
    write(b.folder, "grows", b"y" * 3000)
    write(b.folder, "fits", b"y" * 2000)
    os.rename(os.path.join(b.folder, "big before"), os.path.join(b.folder, "moved"))      # nothing new in it
    b.settle()
    wait_until(lambda: exists(a.folder, "fits") and exists(a.folder, "moved"), 10, "what fits")
    assert not exists(a.folder, "big") and is_file_with(a.folder, "grows", b"x" * 100)
    assert b.status()["ignored_errors"] == 2 and a.status()["ignored_errors"] == 0
    write(a.folder, "grows", b"z" * 10)              # and b keeps what is its own
    a.cli("scan")
    wait_until(lambda: b.status()["pending"]["files"] == 1, 10, "b to hear of it")
    assert is_file_with(b.folder, "grows", b"y" * 3000)
    a.cli("policy", "set", "max_file_size", "0")
    wait_until(lambda: exists(a.folder, "big"), 10, "what was too large")
    same_trees(a, b)
    assert b.status()["ignored_errors"] == 0


@test
def a_lock_that_nobody_may_override():
    a, b = group("a", "b")
    a.cli("policy", "set", "require.override", "false")
    b.cli("pause")
    write(a.folder, "f", b"new")
    a.cli("require", "--mode", "prompt")
    b.cli("resume")
    wait_until(lambda: b.cli("gate", json=True)["locked"], 10, "b locked")
    done = b.cli("gate", "override", "--reason", "I must", check=False)
    failed(done, 5)
    assert "policy" in done.err and b.cli("gate", json=True)["locked"], done.err


on_hosts()
tap.main()
