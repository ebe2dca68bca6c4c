"""Many receivers at once, and how much is sent."""
import time

from lanyard import Failed, node, random_bytes, same_trees, tap, test, write

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


@test
def a_rate_is_held_to():
    """It may take longer, but no shorter. Free are a quarter of a second, and the last request."""
    a, b = pair(("rate.up", "2MB"))
    write(a.folder, "file", random_bytes(1, 4 * MB))
    a.up()
    start = time.monotonic()
    b.up(peers=[a])
    same_trees(a, b)
    took = time.monotonic() - start
    assert took > 4 / 2 - 1, f"{took:.2f} s for 4 MB at 2 MB/s"


@test
def a_rate_that_is_none_is_refused():
    a = node("a")
    a.init()
    for value in "fast", "1 MB", "999", "1MB mon 08:00-18:00=2MB":
        done = a.cli("config", "set", "rate.up", value, check=False)
        if done.code != 2 or "20MB" not in done.err:
            raise Failed(f"{value}: exit code {done.code}, {done.err}")
    assert a.cli("config", "get", "rate.up").out == "0\n"


tap.main()
