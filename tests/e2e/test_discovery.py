"""Discovery over real mDNS, in network namespaces: two embedded stacks, and a real avahi-daemon that comes and goes."""
# serial
import os
import re
import shutil
import signal
import subprocess
import threading
import time

from lanyard import BUILD, SLOW, Failed, Skip, closing, fixture, network, tap, test, wait_until

PROBE = os.environ.get("DISC_PROBE", os.path.join(BUILD, "tests/e2e/disc_probe"))
FOUND = re.compile(r"found (?P<name>\S+) ours=(?P<ours>\d) hint=(?P<hint>\S+) port=(?P<port>\d+) pub=(?P<pub>\d+) addr=(?P<addr>\S*)")


class Probe:
    """A disc_probe on a host. .events is what it said so far; .peers and .state are what follows from it."""

    def __init__(self, host, *options):
        self.host, self.events, self.peers, self.state, self.text = host, [], {}, "starting", ""
        self.p = host.popen([PROBE, "--deadline", 120, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.p.stdout:
            line = line.strip()
            self.events.append(line)
            if line.startswith("state "):
                _, self.state, self.text = line.split(" ", 2)
            elif line.startswith("lost "):
                self.peers = {k: v for k, v in self.peers.items() if k != line.split()[1]}
            else:
                found = FOUND.fullmatch(line)
                self.peers = {**self.peers, found["name"]: found}

    def say(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def quit(self):
        """Ends it; returns how long that took."""
        start = time.monotonic()
        self.say("quit")
        code = self.p.wait(20)
        assert code == 0, f"disc_probe ended with {code}"
        return time.monotonic() - start

    def at(self, port):
        """What it knows of the instance with this port, or None."""
        return next((peer for peer in self.peers.values() if peer["port"] == str(port)), None)

    def wait(self, cond, deadline, what):
        return wait_until(lambda: cond(self), deadline, lambda: f"{what}; {self.host.name} said: {self.events}")

    def wait_found(self, port, deadline=20):
        return self.wait(lambda p: p.at(port), deadline, f"the one with port {port} found")

    def wait_lost(self, port, deadline=10):
        self.wait(lambda p: not p.at(port), deadline, f"the one with port {port} lost")

    def wait_state(self, state, deadline=20):
        self.wait(lambda p: p.state == state, deadline, f"state {state}")


def need_probe():
    if not os.path.exists(PROBE):
        raise Failed(f"{PROBE} is missing: make build/tests/e2e/disc_probe")


class Daemon:
    """D-Bus and avahi-daemon on a host, in a mount namespace of their own with an empty /run: the machine's are not seen there."""

    def __init__(self, host):
        for program in ("dbus-daemon", "avahi-daemon", "avahi-browse", "unshare", "nsenter"):
            if not shutil.which(program):
                raise Skip(f"{program} is missing")
        self.outer, self.name, self.ip, self.avahi = host, host.name, host.ip, None
        # The shell only holds the mount namespace open; everything else enters it.
        script = "mount -t tmpfs tmpfs /run && mkdir -p /run/dbus /run/avahi-daemon && echo ready && exec sleep infinity"
        self.holder = host.popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"

    def _inside(self, argv):
        return ["nsenter", "-t", self.holder.pid, "-m", "--", *argv]

    def popen(self, argv, **kw):
        return self.outer.popen(self._inside(argv), **kw)

    def run(self, argv, **kw):
        return self.outer.run(self._inside(argv), **kw)

    def start_bus(self):
        self.bus = self.popen(["dbus-daemon", "--system", "--nofork", "--nopidfile"], stderr=subprocess.DEVNULL)
        wait_until(lambda: subprocess.run(self.outer._inside(self._inside(["test", "-S", "/run/dbus/system_bus_socket"]))).returncode == 0,
                   10, "the socket of D-Bus")

    def start_avahi(self):
        self.avahi = self.popen(["avahi-daemon", "--no-chroot", "--no-drop-root", "--no-rlimits"], stderr=subprocess.DEVNULL)

    def kill_avahi(self):
        self.avahi.send_signal(signal.SIGKILL)
        self.avahi.wait()
        self.run(["rm", "-f", "/run/avahi-daemon/pid"])

    def browse(self):
        return self.run(["timeout", 10 * SLOW, "avahi-browse", "-rtp", "_lanyard._tcp"], check=False, stderr=subprocess.DEVNULL)


@fixture
def lan():
    """Three hosts: a and b without a daemon; c is for the one with it."""
    need_probe()
    net = network()
    return net, net.host("a"), net.host("b"), net.host("c")


def pair(a_options=(), b_options=()):
    _, a, b, _ = lan()
    first = Probe(a, "--port", 1001, "--pub", 2001, *a_options)
    second = Probe(b, "--port", 1002, "--pub", 2002, *b_options)
    for each in (first, second):
        closing(each.p.kill)
    return first, second


@test
def two_embedded_stacks_find_each_other():
    a, b = pair(("--key", "k"), ("--key", "k"))
    of_b, of_a = a.wait_found(1002), b.wait_found(1001)
    assert a.state == b.state == "embedded", (a.events, b.events)
    assert (of_b["pub"], of_b["ours"], of_b["hint"]) == ("2002", "1", "-"), of_b[0]
    assert re.fullmatch("a-[a-z2-7]{8}", of_b["name"]), of_b[0]
    assert of_a["pub"] == "2001" and of_a["ours"] == "1", of_a[0]
    b.wait(lambda p: p.at(1001)["addr"].split(",")[0] == a.host.ip, 20, "the IPv4 address first")
    a.wait(lambda p: re.fullmatch(r"10\.77\.0\.\d+,fe80::[0-9a-f:]+%\d+", p.at(1002)["addr"]), 20, "the link-local address last")
    assert len(a.peers) == len(b.peers) == 1, "one reports itself"


@test
def one_that_stops_says_goodbye_and_is_lost():
    a, b = pair()
    a.wait_found(1002)
    name = a.at(1002)["name"]
    took = b.quit()
    assert took < 2 * SLOW, f"stopping took {took} s"
    a.wait_lost(1002)
    assert f"lost {name}" in a.events
    assert a.quit() < 2 * SLOW


@test
def a_hint_appears_and_goes():
    a, b = pair()
    assert a.wait_found(1002)["hint"] == "-"
    b.say("hint AB")
    a.wait(lambda p: p.at(1002)["hint"] == "AB", 10, "hint AB")
    b.say("hint 7Z")
    a.wait(lambda p: p.at(1002)["hint"] == "7Z", 10, "hint 7Z")
    b.say("hint")
    a.wait(lambda p: p.at(1002)["hint"] == "-", 10, "no hint")
    assert not any(e.startswith("lost") for e in a.events), a.events


@test
def a_foreign_key_is_not_ours():
    a, b = pair(("--key", "k"), ("--key", "another"))
    assert a.wait_found(1002)["ours"] == "0"
    assert b.wait_found(1001)["ours"] == "0"


@test
def one_that_only_browses_is_not_seen():
    a, b = pair((), ("--port", 0))
    b.wait_found(1001)
    assert not a.peers, a.events


@test
def an_interface_that_is_not_allowed_is_not_used():
    a, b = pair((), ("--only", "lo"))
    c = Probe(lan()[3], "--port", 1003)
    closing(c.p.kill)
    a.wait_found(1003)
    c.wait_found(1001)
    assert not b.peers and not a.at(1002) and not c.at(1002), (a.events, b.events, c.events)


@test
def an_interface_that_is_allowed_is_used():
    a, b = pair((), ("--only", "eth0"))
    a.wait_found(1002)
    b.wait_found(1001)


@test
def two_on_one_host_do_not_disturb_each_other():
    a, b = pair()
    c = Probe(a.host, "--port", 1003)
    closing(c.p.kill)
    for each, others in ((a, (1002, 1003)), (b, (1001, 1003)), (c, (1001, 1002))):
        for port in others:
            each.wait_found(port)
    c.quit()
    b.wait_lost(1003)
    assert b.at(1001)


@test
def a_new_address_is_noticed():
    a, b = pair()
    a.wait_found(1002)
    name, ip, other = a.at(1002)["name"], b.host.ip, "10.77.0.200"
    b.host.run(["ip", "addr", "add", f"{other}/24", "dev", "eth0"])
    b.host.run(["ip", "addr", "del", f"{ip}/24", "dev", "eth0"])
    closing(lambda: b.host.run(["ip", "addr", "add", f"{ip}/24", "dev", "eth0"]))
    closing(lambda: b.host.run(["ip", "addr", "del", f"{other}/24", "dev", "eth0"], check=False))
    # The second goes with the first, unless the host promotes it.
    b.host.run(["ip", "addr", "replace", f"{other}/24", "dev", "eth0"])
    b.host.run(["ip", "route", "replace", "224.0.0.0/4", "dev", "eth0"])
    a.wait(lambda p: other in (p.at(1002) or {"addr": ""})["addr"].split(","), 30, f"address {other}")
    assert a.at(1002)["name"] == name


@test
def avahi_daemon_is_used_while_it_runs():
    """The whole life with a daemon on one host: no bus, bus alone, the daemon, killed, started again, the bus killed."""
    _, a, _, c = lan()
    machine = Daemon(c)
    here = Probe(a, "--port", 1001, "--key", "k")
    there = Probe(machine, "--port", 1003, "--pub", 2003, "--key", "k")
    for each in (here, there):
        closing(each.p.kill)
    here.wait_found(1003)
    there.wait_found(1001)
    assert there.state == "embedded", there.events

    machine.start_bus()
    there.wait(lambda p: "it is not running" in p.text, 15, "D-Bus seen")
    machine.start_avahi()
    there.wait_state("client")
    listed = wait_until(lambda: [x for x in machine.browse().splitlines() if x.startswith("=") and ";1003;" in x], 30,
                        "listed by avahi-browse")
    assert any("_lanyard._tcp" in x and '"v=1"' in x and '"p=2003"' in x for x in listed), listed
    wait_until(lambda: ";1001;" in machine.browse(), 20, "the embedded one listed by avahi-browse")
    there.say("hint AB")
    here.wait(lambda p: p.at(1003) and p.at(1003)["hint"] == "AB", 20, "hint AB published by the daemon")
    third = Probe(lan()[2], "--port", 1002, "--key", "k")
    closing(third.p.kill)
    there.wait_found(1002)
    third.wait_found(1003)
    assert third.quit() < 2 * SLOW
    there.wait_lost(1002)

    machine.kill_avahi()
    there.wait_state("embedded")
    fourth = Probe(lan()[2], "--port", 1004, "--key", "k")
    closing(fourth.p.kill)
    assert fourth.wait_found(1003)["ours"] == "1"
    there.wait_found(1004)

    machine.start_avahi()
    there.wait_state("client", 30)
    there.say("hint")
    here.wait(lambda p: p.at(1003) and p.at(1003)["hint"] == "-", 30, "the hint gone, through the daemon again")

    machine.bus.kill()
    there.wait_state("embedded", 30)
    name = there.at(1001)["name"]
    assert f"lost {name}" not in there.events, "the changes of backend lost a peer that was there all the time"
    assert there.quit() < 3 * SLOW
    here.wait_lost(1003)


@test
def stopping_does_not_wait_for_a_daemon_that_hangs():
    machine = Daemon(lan()[3])
    machine.start_bus()
    machine.start_avahi()
    there = Probe(machine, "--port", 1003)
    closing(there.p.kill)
    there.wait_state("client")
    here = Probe(lan()[1], "--port", 1001)
    closing(here.p.kill)
    there.wait_found(1001)
    machine.avahi.send_signal(signal.SIGSTOP)
    there.say("hint AB")                # a call that gets no answer
    took = there.quit()
    assert took < 4 * SLOW, f"stopping took {took} s"


tap.main()
