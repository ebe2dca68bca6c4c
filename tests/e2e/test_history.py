"""Old versions in all their kinds: large ones, ones that only a peer has, links, directories, losers; and the control socket itself."""
import os
import random
import signal
import socket
import stat
import struct
import subprocess

from lanyard import LANYARD, Failed, exists, failed, fixture, group, is_file_with, node, path_of, read, tap, test, wait_until, write

MIB = 1 << 20


def versions(n, path):
    return n.cli("log", path, json=True)


def by_size(n, path, size):
    return next(v["version"] for v in versions(n, path) if v["size"] == size)


@fixture
def pair():
    return group("a", "b")


@fixture
def large():
    """A file of many blocks in two versions; the first one is on neither disk as a file any more, but b has put it away."""
    a, b = pair()
    first, second = random.Random(1).randbytes(24 * MIB), random.Random(2).randbytes(3 * MIB)
    write(a.folder, "large", first)
    a.settle()
    write(a.folder, "large", second)
    a.settle()
    return first, second


@fixture
def three():
    """Content that a made and overwrote itself, that b put away, and that c, which came later, has never seen. a is not running."""
    a, b = group("a3", "b3")
    first = random.Random(3).randbytes(5 * MIB)
    write(a.folder, "d/large", first)
    write(a.folder, "d/small", b"s" * 3000)
    write(a.folder, "d/tiny", b"tiny")
    a.settle()
    write(a.folder, "d/large", b"2" * 2000)
    os.unlink(path_of(a.folder, "d/small"))
    os.unlink(path_of(a.folder, "d/tiny"))
    a.settle()
    c = node("c3")
    c.join(a.invite(), at=a.address)
    c.up(peers=[a, b]).wait(60, 2)
    a.down()
    return a, b, c, first


# ---- log ----

@test
def the_log_names_the_devices_that_have_it():
    _, b, c, first = three()
    now, before = versions(c, "d/large")
    assert (now["available"], before["available"]) == ("here", "peers"), (now, before)
    assert (now["holders"], before["holders"]) == (["c3", "b3"], ["b3"]), (now, before)
    assert versions(b, "d/large")[1]["holders"] == ["b3"]
    assert "b3" in c.cli("log", "d/large").out.splitlines()[2]


@test
def the_log_of_the_folder_asks_the_peers_too():
    _, b, c, first = three()
    for listed in (c.cli("log", json=True), versions(c, "d")):
        old = next(v for v in listed if v["size"] == len(first))
        assert (old["available"], old["holders"]) == ("peers", ["b3"]), old


@test
def a_device_that_does_not_answer_is_not_waited_for():
    a, b = group("a4", "b4")
    a.down().config("history_alone", "false").up(peers=[b])      # what is overwritten is not here, however long that takes
    write(a.folder, "f", b"1" * 3000)
    a.settle()
    write(a.folder, "f", b"2" * 4000)
    a.settle()
    old = by_size(a, "f", 3000)
    b.signal(signal.SIGSTOP)
    try:
        assert [v["available"] for v in versions(a, "f")] == ["here", "gone"]
        assert [v["available"] for v in a.cli("log", json=True)] == ["here", "gone"]
        failed(a.cli("cat", "f", "--version", old, check=False), 1)
    finally:
        b.signal(signal.SIGCONT)
    wait_until(lambda: versions(a, "f")[1]["holders"] == ["b4"], 30, "b's answer")
    assert a.cli("cat", "f", "--version", old).raw == b"1" * 3000


@test
def the_log_of_a_directory_has_all_that_is_beneath_it():
    _, _, c, _ = three()
    write(c.folder, "elsewhere", b"e")
    c.settle()
    listed = versions(c, "d")
    assert sorted({v["path"] for v in listed}) == ["d", "d/large", "d/small", "d/tiny"], listed
    assert [v["time"] for v in listed] == sorted((v["time"] for v in listed), reverse=True)
    assert len(c.cli("log", "--limit", "2", "d", json=True)) == 2


@test
def what_was_deleted_is_listed_with_its_last_version():
    _, b, c, _ = three()
    listed = c.cli("log", "--deleted", json=True)
    small = next(v for v in listed if v["path"] == "d/small")
    assert (small["kind"], small["size"], small["available"], small["holders"], small["deleted_by"]) == \
        ("file", 3000, "peers", ["b3"], "a3"), small
    assert small["deleted"] > small["time"]
    assert next(v for v in listed if v["path"] == "d/tiny")["available"] == "here", "it is in its entry"
    assert c.cli("log", "--deleted", "d", json=True) == listed and c.cli("log", "--deleted", "none", json=True) == []
    assert c.cli("cat", "d/small", "--version", small["version"]).raw == b"s" * 3000
    c.cli("restore", "d/small")
    assert read(c.folder, "d/small") == b"s" * 3000
    c.wait(30, 1)
    assert [v["path"] for v in c.cli("log", "--deleted", json=True)] == ["d/tiny"]


# ---- cat ----

@test
def superseded_content_comes_from_whoever_has_it():
    _, b, c, first = three()
    old = by_size(c, "d/large", len(first))
    assert c.cli("cat", "d/large", "--version", old).raw == first
    assert versions(c, "d/large")[1]["holders"] == ["c3", "b3"], "it is kept now"
    c.wait(20, 1)
    b.down()
    assert versions(c, "d/large")[1]["holders"] == ["c3"]
    c.cli("restore", "d/large", "--version", old)
    assert read(c.folder, "d/large") == first
    b.up(peers=[c])
    c.wait(30, 1)
    assert read(b.folder, "d/large") == first


@test
def a_large_version_comes_whole():
    a, b = pair()
    first, second = large()
    assert b.cli("cat", "large").raw == second and b.cli("cat", "large", "--version", by_size(b, "large", len(first))).raw == first


@test
def a_version_that_only_a_peer_has_is_fetched():
    a, b = pair()
    first, _ = large()
    old = by_size(a, "large", len(first))
    assert [v["available"] for v in versions(a, "large")] == ["here", "peers"], versions(a, "large")
    assert a.cli("cat", "large", "--version", old).raw == first
    assert [v["available"] for v in versions(a, "large")] == ["here", "here"], versions(a, "large")
    a.wait(20, 1)


@test
def a_reader_that_waits_does_not_hold_up_the_node():
    _, b = pair()
    first, _ = large()
    process = b.popen(LANYARD, "cat", "large", "--version", by_size(b, "large", len(first)), stdout=subprocess.PIPE)
    begin = process.stdout.read(100)
    write(b.folder, "meanwhile", b"x")
    b.settle()
    assert begin + process.stdout.read() == first and process.wait() == 0
    process.stdout.close()


@test
def a_reader_that_goes_away_harms_nobody():
    _, b = pair()
    first, _ = large()
    for _ in range(5):
        process = b.popen(LANYARD, "cat", "large", "--version", by_size(b, "large", len(first)), stdout=subprocess.PIPE)
        process.stdout.read(100)
        process.kill()
        process.wait()
        process.stdout.close()
    b.settle()


@test
def what_nobody_online_has_is_said():
    a = node("a").init().config("history_alone", "false").up()
    write(a.folder, "f", b"1" * 5000)
    a.cli("scan")
    old = versions(a, "f")[0]["version"]
    write(a.folder, "f", b"2" * 6000)
    a.cli("scan")
    assert [(v["available"], v["holders"]) for v in versions(a, "f")] == [("here", ["a"]), ("gone", [])]
    for command in ("cat", "restore"):
        done = a.cli(command, "f", "--version", old, check=False)
        failed(done, 1)
        assert old in done.err and "not on this device" in done.err, done.err
    assert read(a.folder, "f") == b"2" * 6000 and a.status()["pending"]["files"] == 0


@test
def cat_of_what_has_no_bytes():
    a, _ = pair()
    os.mkdir(path_of(a.folder, "d"))
    write(a.folder, "empty", b"")
    os.symlink("some/where", path_of(a.folder, "link"))
    a.settle()
    failed(a.cli("cat", "d", check=False), 1)
    assert a.cli("cat", "empty").raw == b"" and a.cli("cat", "link").raw == b"some/where"
    os.unlink(path_of(a.folder, "empty"))
    a.settle()
    failed(a.cli("cat", "empty", check=False), 1)


@test
def a_version_may_be_named_by_its_beginning():
    a, _ = pair()
    write(a.folder, "named", b"n")
    a.settle()
    version = versions(a, "named")[0]["version"]
    stream, _, number = version.partition("-")
    assert a.cli("cat", "named", "--version", f"{stream[:5]}-{number}").raw == b"n"
    assert a.cli("cat", "named", "--version", stream[:5]).raw == b"n"
    for wrong in (stream[:5] + "-999999", "", "-" + number, "x" * 300, stream + "-", "../" + version):
        failed(a.cli("cat", "named", "--version", wrong, check=False), 1)


# ---- restore ----

@test
def restored_files_have_their_mode_and_time():
    a, b = pair()
    write(a.folder, "m", b"first, long enough", mode=0o640, mtime_ns=10**18)
    a.settle()
    write(a.folder, "m", b"second", mode=0o600)
    a.settle()
    b.cli("restore", "m", "--version", by_size(b, "m", 18))
    for n in (a, b):
        wait_until(lambda n=n: is_file_with(n.folder, "m", b"first, long enough"), 20, f"the first version on {n.name}")
    st = os.stat(path_of(b.folder, "m"))
    assert stat.S_IMODE(st.st_mode) == 0o640 and st.st_mtime_ns == 10**18, st
    b.wait(20, 1)
    assert b.cli("cat", "m", "--version", by_size(b, "m", 6)).raw == b"second", "the displaced version is lost"


@test
def a_large_version_is_restored():
    a, b = pair()
    first, second = large()
    b.cli("restore", "large", "--version", by_size(b, "large", len(first)), "--to", "copies/large")
    wait_until(lambda: is_file_with(a.folder, "copies/large", first), 30, "the copy on a")
    assert read(b.folder, "copies/large") == first and read(b.folder, "large") == second


@test
def links_and_directories_are_restored():
    a, b = pair()
    os.mkdir(path_of(a.folder, "was-dir"), 0o750)
    os.symlink("target", path_of(a.folder, "was-link"))
    a.settle()
    os.rmdir(path_of(a.folder, "was-dir"))
    os.unlink(path_of(a.folder, "was-link"))
    a.settle()
    wait_until(lambda: not exists(b.folder, "was-dir") and not exists(b.folder, "was-link"), 20, "their end on b")
    b.cli("restore", "was-dir")
    b.cli("restore", "was-link")
    wait_until(lambda: exists(a.folder, "was-dir") and exists(a.folder, "was-link"), 20, "both again on a")
    assert os.readlink(path_of(a.folder, "was-link")) == b"target"
    assert stat.S_IMODE(os.stat(path_of(a.folder, "was-dir")).st_mode) == 0o750


@test
def what_was_just_removed_is_brought_back():
    a, _ = pair()
    write(a.folder, "oops", b"still needed")
    a.settle()
    os.unlink(path_of(a.folder, "oops"))
    a.cli("restore", "oops")
    assert read(a.folder, "oops") == b"still needed"
    a.settle()
    assert read(a.folder, "oops") == b"still needed"


@test
def restoring_what_is_there_changes_nothing():
    a, _ = pair()
    write(a.folder, "there", b"x")
    a.settle()
    before = versions(a, "there")
    a.cli("restore", "there")
    a.settle()
    assert versions(a, "there") == before


@test
def restore_overwrites_nothing_elsewhere():
    a, _ = pair()
    write(a.folder, "from", b"f")
    write(a.folder, "to", b"t")
    a.settle()
    failed(a.cli("restore", "from", "--to", "to", check=False), 1)
    assert read(a.folder, "to") == b"t"
    failed(a.cli("restore", "from", "--at", "2001-01-01T00:00:00Z", check=False), 1)


@test
def restoring_a_loser_settles_the_conflict():
    a, b = pair()
    for n in (a, b):
        n.cli("pause")
    write(a.folder, "both", b"a's, the earlier one")
    a.cli("scan")
    write(b.folder, "both", b"b's")
    b.cli("scan")
    for n in (a, b):
        n.cli("resume")
    for n in (a, b):
        n.wait(30, 1)
    assert read(a.folder, "both") == b"b's"
    lost = next(c for c in a.cli("conflicts", json=True) if c["path"] == "both")["losers"][0]["version"]
    a.cli("restore", "both", "--version", lost)
    assert read(a.folder, "both") == b"a's, the earlier one"
    wait_until(lambda: is_file_with(b.folder, "both", b"a's, the earlier one"), 20, "the restored loser on b")
    wait_until(lambda: not b.status()["conflicts"], 20, "the end of the conflict on b")


@test
def an_edit_of_just_now_is_kept_as_a_version():
    a, b = pair()
    write(a.folder, "just", b"1" * 3000)
    a.settle()
    write(a.folder, "just", b"2" * 4000)
    a.settle()
    write(a.folder, "just", b"3" * 5000)
    a.cli("restore", "just", "--version", by_size(a, "just", 3000))
    assert read(a.folder, "just") == b"1" * 3000
    a.wait(30, 1)
    assert [v["size"] for v in versions(a, "just")] == [3000, 5000, 4000, 3000]
    for n in (a, b):
        assert n.cli("cat", "just", "--version", by_size(n, "just", 5000)).raw == b"3" * 5000


@test
def resolve_needs_a_conflict():
    a, _ = pair()
    write(a.folder, "peaceful", b"x")
    a.settle()
    failed(a.cli("resolve", "peaceful", "--keep", versions(a, "peaceful")[0]["version"], check=False), 1)
    failed(a.cli("log", "never/was", check=False), 1)


# ---- the control socket ----

def talk(n, data, answer=True):
    """Sends bytes to the control socket; the first reply as its raw bytes, or b"" when the node hangs up."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(os.path.join(n.home, "control.sock"))
        try:
            s.sendall(data)
            return s.recv(65536) if answer else b""
        except ConnectionError:
            return b""


@test
def garbage_on_the_control_socket_is_refused():
    a, _ = pair()
    rand = random.Random(7)
    assert b"\x02" in talk(a, struct.pack("<I", 7) + b"\x93\x01\xa3abc\x80")[:8], "an unknown command is wrong usage"
    for i in range(200):
        data = rand.randbytes(rand.randrange(1, 300))
        frame = struct.pack("<I", len(data)) + data
        talk(a, (frame, data + b"\xff" * 4, struct.pack("<I", 1 << 30), struct.pack("<I", 0), frame + frame)[i % 5])
    talk(a, struct.pack("<I", 1000) + b"\x93", answer=False)
    assert a.running() and a.status()["device"]["name"] == "a"


@test
def waiting_requests_end_with_their_client():
    a, _ = pair()
    waiting = [a.popen(LANYARD, *args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for args in (["wait", "--peers", "9"], ["events", "--follow"], ["invite", "--wait"]) for _ in range(60)]
    for process in waiting:
        process.kill()
        process.wait()
    wait_until(lambda: a.cli("status", check=False).code == 0, 20, "an answer")
    pid = pid_of(a)
    wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) < len(waiting), 20, "their descriptors closed")


def pid_of(n):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.path.join(n.home, "control.sock"))
        return struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


@test
def a_socket_that_a_crash_left_is_replaced():
    n = node("c").init().up()
    n.kill9()
    if not exists(n.home, "control.sock"):
        raise Failed("the socket went with the node")
    n.up()
    assert n.status()["device"]["name"] == "c"
    assert stat.S_IMODE(os.lstat(os.path.join(n.home, "control.sock")).st_mode) == 0o600
    n.down()
    assert not exists(n.home, "control.sock")


tap.main()
