"""Exit codes and help of every command, where a node keeps its things, and how a node starts and ends."""
import os
import re
import signal
import subprocess

from lanyard import LANYARD, exists, failed, node, tap, temp_dir, test, tree_digest, wait_until, write

COMMANDS = ("init", "up", "down", "invite", "join", "status", "wait", "scan", "pause", "resume", "devices", "log", "cat", "restore",
            "conflicts", "resolve", "config", "events", "version")
NEED_NODE = (["down"], ["invite"], ["status"], ["wait"], ["scan"], ["pause"], ["resume"], ["events"])


# ---- exit codes and help ----

@test
def every_command_has_help():
    n = node("x")
    overview = n.cli("--help").out
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", overview), command
        done = n.cli(command, "--help")
        assert f"lanyard {command}" in done.out and not done.err, (command, done.out, done.err)


@test
def wrong_usage_is_2():
    n = node("x")
    for args in ([], ["no-such-command"], ["status", "--no-such-option"], ["join"], ["cat"], ["resolve", "x"], ["wait", "--timeout", "soon"],
                 ["status", "superfluous"], ["config", "polish"], ["up", "--listen", "nonsense"], ["up", "--peer", ""]):
        done = n.cli(*args, check=False)
        assert done.code == 2 and done.err and not done.out, (args, done.code, done.out, done.err)


@test
def without_a_node_it_is_4():
    n = node("a").init()
    for args in NEED_NODE:
        failed(n.cli(*args, check=False), 4)


# ---- places ----

@test
def init_makes_the_folder_and_keeps_what_is_in_it():
    n = node("a")
    os.mkdir(n.folder)
    write(n.folder, "mine", b"x")
    before = tree_digest(n.folder)
    n.init()
    assert tree_digest(n.folder) == before and exists(n.folder, ".lanyard")
    failed(n.cli("init", n.folder, check=False), 1)
    other = node("other")
    failed(other.cli("init", n.folder, check=False), 1)          # the folder is another group's


@test
def the_home_is_found_as_promised():
    n = node("a")
    base = temp_dir("user")
    plain = {k: v for k, v in n.env().items() if k != "LANYARD_HOME"}
    plain["HOME"] = base

    def made(env, home, *options):
        folder = os.path.join(base, f"folder{len(os.listdir(base))}")
        subprocess.run([LANYARD, *options, "init", folder], env=env, check=True, capture_output=True)
        assert os.path.isdir(home) and os.listdir(home), f"no home at {home}"
        assert os.stat(home).st_mode & 0o077 == 0, f"{home} is open to others"
    made(plain, base + "/.local/share/lanyard")
    made({**plain, "XDG_DATA_HOME": base + "/xdg"}, base + "/xdg/lanyard")
    made({**plain, "XDG_DATA_HOME": base + "/xdg", "LANYARD_HOME": base + "/env"}, base + "/env")
    made({**plain, "LANYARD_HOME": base + "/env"}, base + "/option", "--home", base + "/option")


@test
def secrets_and_socket_are_the_owners_alone():
    a = node("a").init().up()
    open_to_others = [p for place, _, names in os.walk(a.home) for p in (os.path.join(place, x) for x in names)
                      if ("key" in p.lower() or "sock" in p) and os.lstat(p).st_mode & 0o077]
    assert not open_to_others, open_to_others


# ---- the life of a node ----

@test
def up_prints_its_ready_line_on_standard_output_alone():
    n = node("a").init()
    process = n.popen(LANYARD, "up", "--listen", "127.0.0.1:0", "--no-mdns", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    n.process = process
    line = process.stdout.readline().decode()
    assert re.fullmatch(r"lanyard: ready, device a \([^)]+\), listening on 127\.0\.0\.1:[1-9]\d*\n", line), line
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == b"" and process.wait(20) == 0
    process.stdout.close()


@test
def signals_end_a_node_cleanly():
    n = node("a").init()
    for number in (signal.SIGTERM, signal.SIGINT):
        n.up()
        n.process.send_signal(number)
        wait_until(lambda: n.process.poll() is not None, 20, f"the end after {number.name}")
        assert n.process.returncode == 0, n.process.returncode


@test
def a_home_runs_once():
    n = node("a").init().up()
    done = n.cli("up", "--listen", "127.0.0.1:0", "--no-mdns", check=False)
    assert done.code == 1 and "lanyard: " in done.err, (done.code, done.err)
    assert n.status()["device"]["name"] == "a"


@test
def up_detached_returns_when_ready():
    n = node("a").init()
    done = n.cli("up", "--detach", "--listen", "127.0.0.1:0", "--no-mdns")
    try:
        assert done.out.startswith("lanyard: ready, device a ("), done.out
        assert n.status()["state"] in ("scanning", "idle")
    finally:
        n.cli("down")
    failed(n.cli("status", check=False), 4)


@test
def a_port_that_is_taken_is_said():
    a, b = node("a").init().up(), node("b").init()
    done = b.cli("up", "--listen", a.address, "--no-mdns", check=False)
    assert done.code == 1 and a.address.rsplit(":", 1)[1] in done.err, (done.code, done.err)


@test
def up_without_init_says_what_to_do():
    done = node("a").cli("up", "--listen", "127.0.0.1:0", "--no-mdns", check=False)
    assert done.code == 1 and "init" in done.err, (done.code, done.err)


tap.main()
