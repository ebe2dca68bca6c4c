"""The systems that the benchmark compares, behind one face: two devices on loopback that keep B's folder like A's.

    s = Lanyard() | Syncthing() | Rsync()
    s.prepare()                 # two paired devices with empty folders, not running
    s.start()                   # both run; what is in A's folder goes to B
    s.sync(changed)             # whatever this system needs after a change: rsync a run, the others nothing
    s.rss(), s.cpu()            # resident bytes of the larger device; CPU seconds of the busier one
    s.stop()

Everything is made below the directory that is given; ports are whatever is free; nothing leaves 127.0.0.1."""
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from xml.sax.saxutils import quoteattr

import lanyard
from lanyard import wait_until

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


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


def rss(pid):
    """Resident bytes of a process and all below it."""
    total = 0
    for each in lanyard.descendants(pid):
        with open(f"/proc/{each}/statm", encoding="ascii") as f:
            total += int(f.read().split()[1]) * PAGE
    return total


def cpu(pid):
    """CPU seconds that a process and all below it have used, in user and kernel mode."""
    total = 0
    for each in lanyard.descendants(pid):
        with open(f"/proc/{each}/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class System:
    watches = True              # notices changes by itself

    def __init__(self, base):
        self.base = base
        self.folders = [os.path.join(base, "a", "folder"), os.path.join(base, "b", "folder")]

    def sync(self):
        pass

    def pids(self):
        return [p.pid for p in self.processes]

    def rss(self):
        return max(rss(pid) for pid in self.pids())

    def cpu(self):
        """CPU seconds by device."""
        return [cpu(pid) for pid in self.pids()]

    def stop(self):
        for p in self.processes:
            end(p)


class Lanyard(System):
    name = "lanyard"

    @staticmethod
    def missing():
        return None if os.access(lanyard.LANYARD, os.X_OK) and os.access(lanyard.LANYARDD, os.X_OK) else "lanyard is not built"

    @staticmethod
    def version():
        return subprocess.run([lanyard.LANYARD, "version"], capture_output=True, text=True).stdout.split("\n")[0]

    def prepare(self):
        homes = [os.path.join(self.base, n, "home") for n in "ab"]
        for home in homes:
            os.makedirs(os.path.dirname(home))
        self.a, self.b = (lanyard.Node(h, f, name=n) for h, f, n in zip(homes, self.folders, "ab"))
        self.a.init().up()
        self.b.join(self.a.invite(), at=self.a.address)
        self.a.down()

    def start(self):
        self.a.up(deadline=120)
        self.b.up(peers=[self.a], deadline=120)
        self.processes = [self.a.process, self.b.process]

    def failed(self):
        return next((f"{n.name} ended with exit code {n.process.returncode}" for n in (self.a, self.b) if not n.running()), None)


class Syncthing(System):
    name = "syncthing"
    KEY = "bench"

    @staticmethod
    def missing():
        return None if shutil.which("syncthing") else "syncthing is not installed"

    @staticmethod
    def version():
        return subprocess.run(["syncthing", "--version"], capture_output=True, text=True).stdout.split(" (")[0]

    def environment(self, home):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ST", "XDG_"))}
        return {**env, "HOME": home, "STNOUPGRADE": "1", "STNORESTART": "1", "STNODEFAULTFOLDER": "1"}

    def prepare(self):
        self.homes = [os.path.join(self.base, n, "home") for n in "ab"]
        self.sync_ports, self.gui_ports, ids = [free_port(), free_port()], [free_port(), free_port()], []
        for home, folder in zip(self.homes, self.folders):
            os.makedirs(home)
            os.makedirs(os.path.join(folder, ".stfolder"))
            subprocess.run(["syncthing", "generate", f"--home={home}", "--no-default-folder"], check=True, capture_output=True,
                           env=self.environment(home))
            with open(os.path.join(home, "config.xml"), encoding="utf-8") as f:
                ids.append(re.search(r'<device id="([A-Z0-9-]{63})"', f.read())[1])
        for i in range(2):
            with open(os.path.join(self.homes[i], "config.xml"), "w", encoding="utf-8") as f:
                f.write(self.config(i, ids))
        self.start()                    # the first start makes the database and certificates: not what is measured
        wait_until(self.connected, 60, "two connected syncthings")
        self.stop()

    def config(self, me, ids):
        devices = "".join(f'<device id="{id_}" name="{name}" compression="metadata"><address>tcp://127.0.0.1:{port}</address></device>'
                          for id_, name, port in zip(ids, "ab", self.sync_ports))
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

    def start(self):
        self.processes = []
        for home, port in zip(self.homes, self.sync_ports):     # B finds A when it first dials, and need not try again later
            with open(home + ".log", "ab") as log:
                self.processes.append(subprocess.Popen(["syncthing", "serve", f"--home={home}", "--no-browser", "--no-restart"],
                                                       stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment(home)))
            wait_until(lambda port=port: listening(port), 60, "syncthing listens")

    def connected(self):
        request = urllib.request.Request(f"http://127.0.0.1:{self.gui_ports[0]}/rest/system/connections", headers={"X-API-Key": self.KEY})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return b'"connected": true' in answer.read()
        except OSError:
            return False

    def failed(self):
        return next((f"syncthing ended with exit code {p.returncode}" for p in self.processes if p.poll() is not None), None)


class Rsync(System):
    """A daemon that serves A's folder; every sync is one run of a client that fetches it into B's."""
    name = "rsync"
    watches = False

    @staticmethod
    def missing():
        return None if shutil.which("rsync") else "rsync is not installed"

    @staticmethod
    def version():
        return " ".join(subprocess.run(["rsync", "--version"], capture_output=True, text=True).stdout.split()[:3])

    def prepare(self):
        for folder in self.folders:
            os.makedirs(folder)
        self.port, self.peak = free_port(), 0
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
        client = subprocess.Popen(["rsync", "-a", f"rsync://127.0.0.1:{self.port}/a/", self.folders[1] + "/"])
        self.processes = [self.daemon, client]

    def rss(self):
        """While a client runs: its processes on either side; nothing stays between two runs."""
        return max(rss(pid) for pid in self.pids() if os.path.exists(f"/proc/{pid}/statm"))

    def failed(self):
        code = self.processes[-1].poll()
        return f"rsync ended with exit code {code}" if code else None
