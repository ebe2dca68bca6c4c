"""Devices that find each other by real mDNS, each in a network namespace of its own, without any address given."""
from lanyard import exists, fixture, group, is_file_with, network, node, same_trees, tap, test, wait_until, write


@fixture
def lan():
    """The network and three devices of one group on it: a invited b and c, which were never told of each other."""
    net = network()
    return net, group("a", "b", "c", net=net, mdns=True)


def online(n):
    return {peer["name"]: peer for peer in n.status()["peers"] if peer["online"]}


@test
def devices_join_and_find_each_other_without_addresses():
    _, (a, b, c) = lan()
    for n, others in ((a, "bc"), (b, "ac"), (c, "ab")):
        peers = online(n)
        assert set(peers) == set(others), peers
        assert all(peer["via"] == "lan" for peer in peers.values()), peers
        assert all(peer["address"] for peer in peers.values()), peers
    write(a.folder, "hello", b"from a")
    same_trees(a, b, c)


@test
def a_third_device_is_trusted_through_the_control_log():
    _, (a, b, c) = lan()
    a.down()
    write(b.folder, "while-a-is-away", b"b to c")
    wait_until(lambda: is_file_with(c.folder, "while-a-is-away", b"b to c"), 30, "b's file on c, which only a had introduced")
    write(c.folder, "and-back", b"c to b")
    wait_until(lambda: is_file_with(b.folder, "and-back", b"c to b"), 30, "c's file on b")
    assert {d["name"] for d in c.cli("devices", json=True)} == {"a", "b", "c"}
    a.up(mdns=True)
    same_trees(a, b, c, timeout=60)


@test
def a_pulled_cable_is_noticed_and_its_return_too():
    net, (a, b, c) = lan()
    net.host("b").link_down()
    write(a.folder, "cable", b"out")
    wait_until(lambda: is_file_with(c.folder, "cable", b"out"), 30, "a's file on c")
    assert not exists(b.folder, "cable")
    write(b.folder, "alone", b"on b")
    net.host("b").link_up()
    same_trees(a, b, c, timeout=90)
    assert a.status()["conflicts"] == 0


@test
def an_address_may_change():
    _, (a, b, c) = lan()
    before = b.address
    b.down().up(mdns=True)
    assert b.address != before
    write(b.folder, "new-port", b"x")
    same_trees(a, b, c, timeout=60)


@test
def groups_on_one_network_do_not_mix():
    net, (a, _, _) = lan()
    x, y = node("x", net.host("x")), node("y", net.host("y"))
    x.init().up()
    a.invite()                                   # the other group's door is open at the same time
    y.join(x.invite(), timeout=60)
    y.up()
    write(x.folder, "theirs", b"x")
    wait_until(lambda: is_file_with(y.folder, "theirs", b"x"), 60, "x's file on y")
    assert set(online(y)) == {"x"} and not exists(a.folder, "theirs")


@test
def a_wrong_code_is_refused_without_an_address_too():
    net, (a, _, _) = lan()
    stranger, other = node("stranger", net.host("s")), node("other", net.host("o"))
    other.init().up()
    code = other.invite()
    other.down()
    a.invite()
    done = stranger.join(code, check=False, timeout=60)
    assert done.code in (1, 3, 5), (done.code, done.err)
    assert "stranger" not in {d["name"] for d in a.cli("devices", json=True)}


tap.main()
