"""A group of more devices than the setting `mesh`: each keeps connections to some, and nothing that all could do together is lost."""
import os

from lanyard import Node, fixture, is_file_with, same_trees, tap, temp_dir, test, wait_until, write

DEVICES = 10
HALF = DEVICES // 2


def peers(n):
    return {p["name"]: p for p in n.status()["peers"]}


def far(n):
    """Those online of whom it knows by others alone: no address of theirs has ever been dialled."""
    return [name for name, p in peers(n).items() if p["online"] and not p["address"]]


def sees(n, others):
    """It hears of all those, by whatever way."""
    wait_until(lambda: all(peers(n)[o.name]["online"] for o in others if o is not n), 60, lambda: f"{n.name} sees them: {peers(n)}")


def goes_round(nodes, name):
    """What each writes gets to each."""
    for n in nodes:
        write(n.folder, f"{name}/{n.name}", n.name.encode())
    for n in nodes:
        wait_until(lambda n=n: all(is_file_with(n.folder, f"{name}/{o.name}", o.name.encode()) for o in nodes), 60, f"all files on {n.name}")


@fixture
def parts():
    """Two halves that know nothing of each other. Each device is told the address of the one that joined after it, and no other."""
    base = temp_dir("crowd")
    nodes = [Node(f"{base}/d{i}/home", f"{base}/d{i}/folder", name=f"d{i}") for i in range(DEVICES)]
    first = nodes[0].init().up()
    for n in nodes[1:]:
        os.makedirs(os.path.dirname(n.home))
        n.join(first.invite(), at=first.address)
    first.down()
    for i, n in reversed(list(enumerate(nodes))):
        n.cli("config", "set", "mesh", "3")
        n.up(peers=nodes[i + 1:i + 2] if i + 1 != HALF else [])
    return nodes


@test
def all_hear_of_all_and_of_what_each_does():
    nodes = parts()
    for half in nodes[:HALF], nodes[HALF:]:
        for n in half:
            sees(n, half)
    assert not any(peers(n)[o.name]["online"] for n in nodes[:HALF] for o in nodes[HALF:])
    write(nodes[0].folder, "apart", b"one")
    write(nodes[-1].folder, "apart too", b"two")

    meeting = nodes[HALF - 1]
    meeting.down()
    meeting.up(peers=[nodes[HALF]])
    for n in nodes:
        n.wait(60, DEVICES - 1)
    assert all(p["online"] for n in nodes for p in peers(n).values()), [peers(n) for n in nodes]
    assert any(far(n) for n in nodes), [far(n) for n in nodes]
    same_trees(*nodes)
    assert is_file_with(nodes[0].folder, "apart too", b"two"), os.listdir(nodes[0].folder)

    write(nodes[0].folder, "needed", os.urandom(300_000))
    nodes[0].settle(DEVICES - 1, 60)
    nodes[0].cli("require", "--message", "all of you")

    def proven():
        devices = nodes[0].cli("require", "status", json=True, check=False)["devices"]
        return len(devices) == DEVICES and all(d["state"] == "reached" and d["online"] and d["signed"] for d in devices)
    wait_until(proven, 60, lambda: f"all have reached it and signed so: {nodes[0].cli('require', 'status', check=False).out}")

    meeting.kill9()                      # the only one of its half that was told of the other half
    rest = [n for n in nodes if n is not meeting]
    goes_round(rest, "without it")

    gone = nodes[-1]
    nodes[0].cli("device", "revoke", gone.name)
    for n in rest[:-1]:
        wait_until(lambda n=n: gone.name not in [p["name"] for p in n.status()["peers"] if p["role"] != "revoked"], 60,
                   lambda n=n: f"{n.name} has heard of the revocation: {peers(n)}")
    goes_round(rest[:-1], "without both")


tap.main()
