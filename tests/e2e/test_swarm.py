"""Many receivers at once, and how much is sent."""
import time

from lanyard import Failed, exists, node, random_bytes, same_trees, tap, test, wait_until, write

MB = 1_000_000


def pair(*settings):
    """Two devices that know each other, the first with these settings and not up."""
    a, b = node("a"), node("b")
    a.init().up()
    b.join(a.invite(), at=a.address)
    a.down()
    for key, value in settings:
        a.cli("config", "set", key, value)
    return a, b


def at_a_rate(sending, receiving):
    """It may take longer, but no shorter. Free are a quarter of a second, and the last request."""
    a, b = pair(*sending)
    for key, value in receiving:
        b.cli("config", "set", key, value)
    write(a.folder, "file", random_bytes(1, 4 * MB))
    a.up()
    start = time.monotonic()
    b.up(peers=[a])
    same_trees(a, b)
    took = time.monotonic() - start
    assert took > 4 / 2 - 1, f"{took:.2f} s for 4 MB at 2 MB/s"


@test
def a_rate_is_held_to(): at_a_rate([("rate.up", "2MB")], [])


@test
def a_rate_for_each_device_is_held_to(): at_a_rate([("rate.up_each", "2MB")], [])


@test
def a_rate_of_what_comes_is_held_to(): at_a_rate([], [("rate.down", "2MB")])


@test
def a_rate_that_is_none_is_refused():
    a = node("a")
    a.init()
    for value in "fast", "1 MB", "999", "1MB mon 08:00-18:00=2MB":
        done = a.cli("config", "set", "rate.up", value, check=False)
        if done.code != 2 or "20MB" not in done.err:
            raise Failed(f"{value}: exit code {done.code}, {done.err}")
    assert a.cli("config", "get", "rate.up").out == "0\n"


def swarm(receivers, rate):
    """Devices that know each other, all up with this rate, the first of which is to have what the others receive."""
    nodes = [node(f"d{i}") for i in range(receivers + 1)]
    nodes[0].init().up()
    for each in nodes[1:]:
        each.join(nodes[0].invite(), at=nodes[0].address)
    nodes[0].down()
    for i, each in enumerate(nodes):
        each.cli("config", "set", "rate.up", rate)
        each.up(peers=nodes[:i])
    for each in nodes:
        each.wait(60, receivers)
    return nodes


@test
def receivers_serve_each_other():
    """Three copies would be sent by the origin alone. What the receivers have sent they had while they were receiving."""
    nodes = swarm(3, "8MB")
    write(nodes[0].folder, "large", random_bytes(2, 6 * MB))
    for i in range(4):
        write(nodes[0].folder, f"part{i}", random_bytes(3 + i, MB // 2))
    same_trees(*nodes)
    served = [n.status()["served"] for n in nodes]
    assert served[0] < 2 * 8 * MB, served
    assert sum(served) >= 3 * 8 * MB, served


@test
def the_one_that_has_it_goes_in_the_middle():
    """What the receivers have of it together they do not need to get again; the rest comes when it is back."""
    nodes = swarm(2, "4MB")
    origin, others = nodes[0], nodes[1:]
    write(origin.folder, "large", random_bytes(9, 8 * MB))
    wait_until(lambda: all(n.status()["fetched"]["bytes"] > MB for n in others), 30, "some of it is there")
    origin.kill9()
    origin.up()
    same_trees(*nodes)


@test
def what_is_not_wanted_any_more_is_not_asked_for():
    """Who lacks the same asks the others for it, who may have had it in the meantime. What its author overwrote before anybody had it
    nobody ever will."""
    a, b, c = swarm(2, "20kB")
    write(a.folder, "first", random_bytes(9, 60_000))                 # what comes next waits for a second or three
    wait_until(lambda: exists(b.folder, "first") or exists(c.folder, "first"), 20, "the first file")
    write(a.folder, "file", random_bytes(10, 5000))
    for n in (b, c):
        wait_until(lambda: "file" in [v["path"] for v in n.cli("log", json=True)], 20, f"{n.name} to know of it")
    write(a.folder, "file", b"overwritten")
    same_trees(a, b, c)
    for n in (b, c):
        wait_until(lambda: n.status()["state"] == "idle", 20, f"{n.name} to have given it up")


tap.main()
