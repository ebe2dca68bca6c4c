"""Devices that know each other only through a third one: no mDNS, and each is told the address of b alone."""
import socket

from lanyard import SLOW, is_file_with, network, node, same_trees, tap, test, wait_until, write


def chain(a, b, c, up):
    """Makes them a group; a and c never hear of each other's address."""
    up(b.init(), [])
    for n in (a, c):
        n.join(b.invite(), at=b.address)
    for n in (a, c):
        up(n, [b])
    return a, b, c


def chain_here():
    return chain(node("a"), node("b"), node("c"), lambda n, peers: n.up(peers=peers))


def online(n):
    """{name: address that it was dialled at}."""
    return {peer["name"]: peer["address"] for peer in n.status()["peers"] if peer["online"]}


def connected(*nodes, timeout=30):
    for n in nodes:
        others = {other.name: other.address for other in nodes if other is not n}
        wait_until(lambda: others.items() <= online(n).items(), timeout, lambda: f"{n.name} linked to {others}, not only {online(n)}")


@test
def two_meet_through_a_third():
    a, b, c = chain_here()
    connected(a, b, c)
    b.down()
    write(a.folder, "from-a", b"a to c")
    wait_until(lambda: is_file_with(c.folder, "from-a", b"a to c"), 30, "a's file on c, without b")
    write(c.folder, "from-c", b"c to a")
    wait_until(lambda: is_file_with(a.folder, "from-c", b"c to a"), 30, "c's file on a, without b")


@test
def a_new_address_spreads():
    a, b, c = chain_here()
    connected(a, b, c)
    before = a.address, c.address
    a.down()
    c.down()
    a.up(peers=[b])
    c.up(peers=[b])
    assert before[0] != a.address and before[1] != c.address    # what they remember of each other is of no use
    connected(a, b, c)
    write(a.folder, "x", b"moved")
    same_trees(a, b, c)


@test
def one_moves_and_those_who_stay_find_it():
    a, b, c = chain_here()
    connected(a, b, c)
    a.kill9()
    a.up(peers=[b])
    connected(a, b, c)


@test
def what_was_told_is_remembered():
    a, b, c = node("a"), node("b"), node("c")
    b.init().up()
    a.join(b.invite(), at=b.address)
    c.join(b.invite(), at=b.address)
    a.up(peers=[b])
    connected(a, b)
    wait_until(lambda: len(a.cli("devices", json=True)) == 3, 30, "a to hear of c's membership")
    a.down()                         # a and c are never up together before b has gone for good
    host, port = a.address.split(":")
    c.up(peers=[b])
    connected(b, c)
    with socket.create_server((host, int(port))) as in_its_place:
        in_its_place.settimeout(30 * SLOW)
        in_its_place.accept()        # b or c dials a
        b.down()
    with socket.create_server((host, int(port))) as in_its_place:
        in_its_place.settimeout(30 * SLOW)
        in_its_place.accept()        # c does
    c.down()
    a.up("--listen", a.address)
    c.up()
    connected(a, c)


@test
def a_new_member_is_found_by_all():
    a, b, c = chain_here()
    connected(a, b, c)
    d = node("d")
    d.join(b.invite(), at=b.address)
    d.up(peers=[b])
    connected(a, b, c, d)


@test
def on_machines_that_listen_on_all_addresses():
    net = network()

    def up(n, peers):
        n.up("--listen", "0.0.0.0:0", peers=peers, mdns=False)
        assert n.address.startswith("0.0.0.0:")
        n.address = n.address.replace("0.0.0.0", n.host.ip)
    a, b, c = chain(*(node(name, net.host(name)) for name in "abc"), up)
    connected(a, b, c)
    b.down()
    write(a.folder, "x", b"without b")
    same_trees(a, c)


tap.main()
