"""A small network of Linux network namespaces for tests: hosts on one bridge. Needs root; touches nothing of the machine's network.

    ok, reason = netns.available()
    with netns.Net() as net:
        a, b = net.host("a"), net.host("b")     # the same name gives the same host
        a.run(["ping", "-c1", b.ip])            # waits, raises when it fails, returns what it printed
        p = b.popen(["some-daemon"])            # a subprocess.Popen; killed by close() if it still runs
        a.link_down(); a.link_up()              # as if the cable were pulled and put back: addresses and routes stay
        a.move_away(); a.move_back()            # to a part of the network that is cut off from the rest

The bridge has a namespace of its own too. Every host has lo, eth0 with .ip (10.77.0.N/24) and an IPv6 link-local address, and a
route for multicast. Names of namespaces hold the process id, so several tests may run at once. close() ends every process
in the namespaces and removes them; leaving the `with` block or the program does the same.
"""
import atexit
import os
import shutil
import signal
import subprocess

_made = 0       # networks made by this process: part of their names


def _ip(*args):
    done = subprocess.run(["ip", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(args)}: {done.stdout.strip()}")
    return done.stdout


def available():
    """(True, "") when such a network can be made here, else (False, why)."""
    if os.geteuid() != 0:
        return False, "network namespaces need root"
    if not shutil.which("ip"):
        return False, "ip (package iproute2) is missing"
    try:
        with Net() as net:
            net.host("probe")
    except OSError as e:
        return False, f"network namespaces are not permitted: {e}"
    return True, ""


class Host:
    def __init__(self, net, name, number):
        self.name, self.netns, self.ip = name, f"{net.prefix}-{name}", f"10.77.0.{number}"
        self._net, self._port = net, f"port{number}"
        self._popen = []
        net._add_namespace(self.netns)
        _ip("-n", net.bridge, "link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self.netns)
        _ip("-n", net.bridge, "link", "set", self._port, "master", "bridge", "up")
        _ip("-n", self.netns, "addr", "add", f"{self.ip}/24", "brd", "+", "dev", "eth0")
        _ip("-n", self.netns, "link", "set", "lo", "up")
        _ip("-n", self.netns, "link", "set", "eth0", "up")
        _ip("-n", self.netns, "route", "add", "224.0.0.0/4", "dev", "eth0")

    def run(self, argv, **kw):
        """Runs argv on this host and returns its standard output as text; a failure is CalledProcessError (check=False: not)."""
        kw = {"check": True, "stdout": subprocess.PIPE, "text": True, **kw}
        return subprocess.run(self._inside(argv), **kw).stdout

    def popen(self, argv, **kw):
        """Starts argv on this host; the process is argv itself, so its pid and return code are too."""
        p = subprocess.Popen(self._inside(argv), **kw)
        self._popen.append(p)
        return p

    def link_down(self):
        _ip("-n", self._net.bridge, "link", "set", self._port, "down")

    def link_up(self):
        _ip("-n", self._net.bridge, "link", "set", self._port, "up")

    def move_away(self):
        """To the other bridge, as if a switch between two parts of the network had failed; who is there reaches who is there."""
        _ip("-n", self._net.bridge, "link", "set", self._port, "master", "apart")

    def move_back(self):
        _ip("-n", self._net.bridge, "link", "set", self._port, "master", "bridge")

    def _inside(self, argv):
        return ["ip", "netns", "exec", self.netns, *map(str, argv)]

    def _close(self):
        for pid in subprocess.run(["ip", "netns", "pids", self.netns], stdout=subprocess.PIPE, text=True).stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        for p in self._popen:
            p.kill()
            p.wait()
            for stream in (p.stdin, p.stdout, p.stderr):
                try:
                    if stream:
                        stream.close()
                except OSError:         # a pipe of the dead with something still to flush
                    pass


class Net:
    available = staticmethod(available)

    def __init__(self):
        global _made
        _made += 1
        self.prefix = f"lanyard{os.getpid()}n{_made}"
        self.bridge = self.prefix                   # the namespace of the bridge; hosts have theirs, prefix-name
        self._hosts, self._namespaces = {}, []
        atexit.register(self.close)
        try:
            self._add_namespace(self.bridge)
            for name in "bridge", "apart":
                _ip("-n", self.bridge, "link", "add", name, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
                _ip("-n", self.bridge, "link", "set", name, "up")
        except OSError:
            self.close()
            raise

    def host(self, name):
        if name not in self._hosts:
            self._hosts[name] = Host(self, name, len(self._hosts) + 1)
        return self._hosts[name]

    def close(self):
        atexit.unregister(self.close)
        for host in self._hosts.values():
            host._close()
        for name in self._namespaces:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        self._hosts, self._namespaces = {}, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _add_namespace(self, name):
        _ip("netns", "add", name)
        self._namespaces.append(name)
