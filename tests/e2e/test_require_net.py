"""Admins and a network that falls into parts: each device in a namespace of its own, found by mDNS, with a switch that fails between them."""
from lanyard import failed, fixture, group, is_file_with, network, read, same_trees, tap, test, wait_until, write


@fixture
def lan():
    """The network and four devices of one group on it; a is the owner, c an admin."""
    net = network()
    devices = group("a", "b", "c", "d", net=net, mdns=True)
    devices[0].cli("device", "role", "c", "admin")
    wait_until(lambda: role(devices[2], "c") == "admin", 30, "c to be an admin")
    return net, devices


def role(n, name):
    return next(d["role"] for d in n.cli("devices", json=True) if d["name"] == name)


def standings(n):
    q = n.cli("require", "status", json=True, check=False)      # exit code 1 until all have reached it
    return {d["name"]: d["state"] for d in q["devices"]} if q else {}


def message(n):
    return n.cli("require", "status", json=True, check=False)["message"]


def online(n):
    return {p["name"] for p in n.status()["peers"] if p["online"]}


def apart(net, here, there):
    for n in there:
        net.host(n.name).move_away()
    wait_until(lambda: online(here[0]) == {n.name for n in here[1:]}, 60, f"{here[0].name} to notice that the others are gone")
    wait_until(lambda: online(there[0]) == {n.name for n in there[1:]}, 60, f"{there[0].name} to notice that the others are gone")


def together(net, there):
    for n in there:
        net.host(n.name).move_back()


@test
def who_was_cut_off_locks_when_he_is_back_and_keeps_what_he_wrote():
    net, (a, b, c, d) = lan()
    write(a.folder, "plan", b"first")
    same_trees(a, b, c, d)
    apart(net, (a, b), (c, d))
    write(d.folder, "plan", b"written by somebody who could not know")
    d.cli("scan")
    wait_until(lambda: is_file_with(c.folder, "plan", b"written by somebody who could not know"), 30, "what d wrote, on c")
    write(a.folder, "plan", b"second, as required")
    a.cli("require", "--message", "take the second")
    wait_until(lambda: standings(a).get("b") == "reached", 30, "b to have reached it")
    assert {standings(a)[name] for name in "cd"} <= {"unknown", "behind"} and not d.cli("gate", json=True)["locked"]
    failed(a.cli("require", "status", "--wait", "--timeout", "0.1", check=False), 3)
    together(net, (c, d))
    a.cli("require", "status", "--wait", "--timeout", "90")
    same_trees(a, b, c, d)
    for n in (a, b, c, d):
        assert read(n.folder, "plan") == b"second, as required"
        losers = next(x for x in n.cli("conflicts", json=True) if x["path"] == "plan")["losers"]
        assert [x["device"] for x in losers] == ["d"]


@test
def what_two_admins_do_at_once_in_two_parts_is_one_order_for_all():
    net, (a, b, c, d) = lan()
    apart(net, (a, b), (c, d))
    a.cli("device", "revoke", "d")
    write(c.folder, "agreed", b"in the other part")
    c.cli("require", "--message", "as agreed")
    wait_until(lambda: standings(c).get("d") == "reached", 30, "d to have reached it")
    together(net, (c, d))
    wait_until(lambda: d.status()["state"] == "error", 90, "d to hear that it was revoked")
    for n in (a, b, c):
        wait_until(lambda n=n: message(n) == "as agreed", 90, f"{n.name} to hear of it")
        wait_until(lambda n=n: standings(n) == {name: "reached" for name in "abc"}, 90, f"all to have reached it, as {n.name} sees it")
    orders = [[(x["what"], x["device"]) for x in n.cli("audit", json=True)] for n in (a, b, c)]
    assert orders[0] == orders[1] == orders[2], orders
    assert ("required", "c") in orders[0] and ("revoked", "a") in orders[0], orders[0]
    for n in (a, b, c):
        n.cli("audit", "--verify")


if __name__ == "__main__":
    tap.main()
