"""Real nodes under fire: a user at each who does the worst a user can do, mishaps, and an oracle that knows every content that was ever
complete. tests/torture runs it.

Every content is a run of records that carry their own checksum, so a torn one shows by itself. What a user destroys (overwrites, deletes) is
looked at as it is destroyed. In the end there is quiet, and then
  * whoever was cut off has found the others again, the trees are equal and nothing in them is torn,
  * no device has ever shown a torn content that its user has not made,
  * every content that was complete once and that no user destroyed can be had: live, or by `lanyard log` and `lanyard cat --version`,
  * also one that was destroyed, if it had been stable for a while among connected nodes.
The sequence of operations and of mishaps follows from the seed; their timing does not.

  contents.py   contents and their checksums        user.py     what a user does
  mishaps.py    what happens to nodes and links     oracle.py   what must be true"""
import random
import time

import lanyard
from torture.contents import Contents
from torture.mishaps import OF_NETWORKS, OF_NODES, Absence, Mishaps
from torture.oracle import Watcher, find_lost, quiet
from torture.user import User

STABLE = 4.0            # seconds among connected nodes after which a content must be safe from its own user, too
STABLE_SILENT = 12.0    # the same where a peer that has been asked for it may fall silent without a word


def beginning(names, kinds):
    """The nodes of a round, and how one is started again: each on a machine of its own when links are to be cut and that is possible here."""
    net = None
    if set(kinds) & set(OF_NETWORKS):
        try:
            net = lanyard.network()
        except lanyard.Skip as why:
            lanyard.comment(f"on the loopback interface, where no link can be cut: {why}")
    nodes = lanyard.group(*names, net=net, mdns=net is not None)
    return nodes, lambda node: node.up(mdns=True) if net else node.up(peers=[n for n in nodes if n is not node])


def torture(seed, seconds, count=3, kinds=("kill", "pause")):
    """One round. Returns what is wrong, as lines, and the users."""
    nodes, up = beginning("abcdefgh"[:count], kinds)
    kinds = [k for k in kinds if nodes[0].host or k not in OF_NETWORKS]
    contents, absence, wrong = Contents(seed), Absence(), []
    until = time.monotonic() + seconds
    mishaps = [Mishaps(nodes, seed, until - 1, [k for k in some if k in kinds], absence, up) for some in (OF_NODES, OF_NETWORKS)]
    watcher = Watcher(nodes, absence, until)
    users = [User(n, seed, contents, until) for n in nodes]
    threads = [*users, *mishaps, watcher]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wrong += [f"HARNESS {t.failure}" for t in threads if t.failure] + [line for m in mishaps for line in m.wrong]
    quiet(nodes, wrong, kinds, up)
    wrong += [f"TORN {t}" for t in contents.torn]
    stable = lanyard.SLOW * (STABLE_SILENT if {"freeze", *OF_NETWORKS} & set(kinds) else STABLE)
    old, looked, soft = find_lost(nodes, contents, watcher, wrong, random.Random(seed), stable, kinds)
    happened = ", ".join(f"{n} {kind}" for m in mishaps for kind, n in sorted(m.done.items()))
    lanyard.comment(f"seed {seed}, {count} nodes: {sum(sum(u.done.values()) for u in users)} operations, {happened or 'no mishaps'}, "
                    f"{len(contents.made)} contents, {old} not live, {looked} of them read, {soft} destroyed young by their user; "
                    f"{len(wrong)} wrong")
    return wrong, users
