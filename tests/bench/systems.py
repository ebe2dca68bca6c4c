"""The systems that the benchmark compares, behind one face: devices on loopback that keep the others' folders like the first one's.

    s = Lanyard(base, 2) | Syncthing(base, 2) | Rsync(base, 2)
    s.prepare()                 # so many paired devices with empty folders, not running
    s.start()                   # all run; what is in the first one's folder goes to the others
    s.start_one(0)              # or only this one does
    s.sync()                    # whatever this system needs after a change: rsync a run, the others nothing
    s.scanned(0)                # whether device 0 has looked at the whole of its folder since it was started
    s.rescan(0)                 # has it look again; returns when it has
    s.connected()               # whether each device is connected with each
    s.index_size(0)             # bytes on disk of what it knows of its folder
    s.processes                 # of each device that runs
    s.failed()                  # what went wrong, or None
    s.stop()

Everything is made below the directory that is given; ports are whatever is free; nothing leaves 127.0.0.1."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from xml.sax.saxutils import quoteattr

import lanyard
import meters
from lanyard import Failed, wait_until

CONNECT_S = 300                 # for a hundred devices on two cores
NAMED_BY = 2                    # so many devices are told the address of the same other one: a hundred would make it their hub


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def size_of_files(*paths):
    """Bytes that files, and all files below directories, take on the disk."""
    total = 0
    for path in paths:
        for place, _, names in os.walk(path):
            total += sum(os.lstat(os.path.join(place, n)).st_blocks * 512 for n in names)
        if os.path.isfile(path):
            total += os.lstat(path).st_blocks * 512
    return total


class System:
    watches = True              # notices changes by itself

    def __init__(self, base, count):
        self.base, self.count, self.processes = base, count, []
        self.folders = [os.path.join(base, f"d{i}", "folder") for i in range(count)]
        self.homes = [os.path.join(base, f"d{i}", "home") for i in range(count)]

    def sync(self):
        pass

    def cpu(self):
        """CPU seconds by device."""
        return [meters.cpu(p.pid) for p in self.processes]

    def rss(self):
        """Resident bytes by device."""
        return [meters.rss(p.pid) for p in self.processes]

    def failed(self):
        return next((f"{self.name} ended with exit code {p.returncode}" for p in self.processes if p.poll() is not None), None)

    def stop(self):
        for p in self.processes:
            end(p)
        self.processes = []


class Lanyard(System):
    name = "lanyard"

    @staticmethod
    def missing():
        return None if os.access(lanyard.LANYARD, os.X_OK) and os.access(lanyard.LANYARDD, os.X_OK) else "lanyard is not built"

    @staticmethod
    def version():
        return subprocess.run([lanyard.LANYARD, "version"], capture_output=True, text=True).stdout.split("\n")[0].split()[-1]

    def prepare(self):
        """All join before any but the first runs: else each would hear of every one that comes."""
        for home in self.homes:
            os.makedirs(os.path.dirname(home))
        self.nodes = [lanyard.Node(h, f, name=f"d{i}") for i, (h, f) in enumerate(zip(self.homes, self.folders))]
        first = self.nodes[0].init().up()
        for node in self.nodes[1:]:
            node.join(first.invite(), at=first.address, timeout=CONNECT_S)
        first.down()

    def start_one(self, i, tries=5):
        """A port that was free may be taken by one of ten thousand connections a moment later."""
        for left in reversed(range(tries)):
            try:
                self.nodes[i].up(peers=[self.nodes[(i - 1) // NAMED_BY]] if i else (), deadline=120)
                break
            except Failed as wrong:
                if not left or "in use" not in str(wrong):
                    raise
        self.processes = [n.process for n in self.nodes if n.running()]

    def start(self):
        for i in range(self.count):
            self.start_one(i)

    def scanned(self, i):
        return self.nodes[i].cli("wait", "--timeout", CONNECT_S, timeout=2 * CONNECT_S).code == 0

    def rescan(self, i):
        self.nodes[i].cli("scan", timeout=600)

    def connected(self):
        for node in self.nodes:
            node.wait(CONNECT_S, self.count - 1)
        return True

    def index_size(self, i):
        return size_of_files(*(os.path.join(self.homes[i], "index.db" + end_) for end_ in ("", "-wal")))


class Syncthing(System):
    name = "syncthing"
    KEY = "bench"

    @staticmethod
    def missing():
        return None if shutil.which("syncthing") else "syncthing is not installed"

    @staticmethod
    def version():
        return subprocess.run(["syncthing", "--version"], capture_output=True, text=True).stdout.split()[1]

    def environment(self, home):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ST", "XDG_"))}
        return {**env, "HOME": home, "STNOUPGRADE": "1", "STNORESTART": "1", "STNODEFAULTFOLDER": "1"}

    def prepare(self):
        self.sync_ports, self.gui_ports = [free_port() for _ in self.homes], [free_port() for _ in self.homes]
        ids = []
        for home, folder in zip(self.homes, self.folders):
            os.makedirs(home)
            os.makedirs(os.path.join(folder, ".stfolder"))
            subprocess.run(["syncthing", "generate", f"--home={home}", "--no-default-folder"], check=True, capture_output=True,
                           env=self.environment(home))
            with open(os.path.join(home, "config.xml"), encoding="utf-8") as f:
                ids.append(re.search(r'<device id="([A-Z0-9-]{63})"', f.read())[1])
        for i, home in enumerate(self.homes):
            with open(os.path.join(home, "config.xml"), "w", encoding="utf-8") as f:
                f.write(self.config(i, ids))
        self.start()                    # the first start makes the database and certificates: not what is measured
        if self.count > 1:
            wait_until(self.connected, CONNECT_S, "connected syncthings")
        self.stop()

    def config(self, me, ids):
        names = [f"d{i}" for i in range(self.count)]
        devices = "".join(f'<device id="{id_}" name="{name}" compression="metadata"><address>tcp://127.0.0.1:{port}</address></device>'
                          for id_, name, port in zip(ids, names, self.sync_ports))
        members = "".join(f'<device id="{id_}"/>' for id_ in ids)
        return f"""<configuration version="35">
<folder id="bench" label="" path={quoteattr(self.folders[me])} type="sendreceive" rescanIntervalS="3600" fsWatcherEnabled="true"
 fsWatcherDelayS="1" ignorePerms="false" autoNormalize="true">{members}</folder>
{devices}
<gui enabled="true" tls="false"><address>127.0.0.1:{self.gui_ports[me]}</address><apikey>{self.KEY}</apikey></gui>
<options>
<listenAddress>tcp://127.0.0.1:{self.sync_ports[me]}</listenAddress>
<globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>
<relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><startBrowser>false</startBrowser>
<urAccepted>-1</urAccepted><autoUpgradeIntervalH>0</autoUpgradeIntervalH><crashReportingEnabled>false</crashReportingEnabled>
<stunKeepaliveStartS>0</stunKeepaliveStartS><reconnectionIntervalS>1</reconnectionIntervalS>
</options>
</configuration>
"""

    def start_one(self, i):
        home = self.homes[i]
        with open(home + ".log", "ab") as log:
            self.processes.append(subprocess.Popen(["syncthing", "serve", f"--home={home}", "--no-browser", "--no-restart"],
                                                   stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment(home)))
        wait_until(lambda: listening(self.sync_ports[i]), 60, "syncthing listens")

    def start(self):
        for i in range(self.count):     # a later one finds the earlier ones when it first dials, and need not try again
            self.start_one(i)

    def ask(self, i, path, data=None):
        """What its REST interface answers; None while it does not."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.gui_ports[i]}/rest/{path}", data, {"X-API-Key": self.KEY})
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.loads(answer.read() or b"{}")
        except OSError:
            return None

    def connected(self):
        for i in range(self.count):
            answer = self.ask(i, "system/connections")
            if not answer or sum(c["connected"] for c in answer["connections"].values()) < self.count - 1:
                return False
        return True

    def scanned(self, i):
        events = self.ask(i, "events?since=0&timeout=0") or []
        return any(e["type"] == "StateChanged" and (e["data"]["from"], e["data"]["to"]) == ("scanning", "idle") for e in events)

    def rescan(self, i):
        if self.ask(i, "db/scan?folder=bench", b"") is None:
            raise Failed("syncthing does not answer")

    def index_size(self, i):
        return size_of_files(os.path.join(self.homes[i], "index-v0.14.0.db"))


class Rsync(System):
    """A daemon that serves A's folder; every sync is one run of a client that fetches it into B's."""
    name = "rsync"
    watches = False

    @staticmethod
    def missing():
        return None if shutil.which("rsync") else "rsync is not installed"

    @staticmethod
    def version():
        return subprocess.run(["rsync", "--version"], capture_output=True, text=True).stdout.split()[2]

    def prepare(self):
        for folder in self.folders:
            os.makedirs(folder)
        self.port = free_port()
        self.conf = os.path.join(self.base, "rsyncd.conf")
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\naddress = 127.0.0.1\nport = {self.port}\n"
                    f"[a]\npath = {self.folders[0]}\nread only = yes\n")

    def start(self):
        self.daemon = subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--config={self.conf}"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL)
        self.processes = [self.daemon]
        wait_until(lambda: listening(self.port), 10, "rsync listens")
        self.sync()

    def sync(self):
        self.ended = meters.cpu_of_ended()
        client = subprocess.Popen(["rsync", "-a", f"rsync://127.0.0.1:{self.port}/a/", self.folders[1] + "/"])
        self.processes = [self.daemon, client]

    def cpu(self):
        """Of the daemon from its start, of the last client."""
        daemon, client = self.processes
        return [meters.cpu(daemon.pid), meters.cpu(client.pid) if client.returncode is None else meters.cpu_of_ended() - self.ended]

    def failed(self):
        code = self.processes[-1].poll()
        return f"rsync ended with exit code {code}" if code else None
