"""The benchmark: what it measures and what it says of it, with as little data as it takes."""
import json
import os
import shutil
import signal
import subprocess
import sys

from lanyard import ROOT, Skip, descendants, read, tap, temp_dir, test, wait_until

BENCH = os.path.join(ROOT, "tests/bench/bench")
FIGURE = {"row", "figure", "system", "size", "pair", "value", "unit"}


def start(place, *args, **env):
    env = {**os.environ, "RESULTS": os.path.join(place, "results"), "BENCH_DIR": place, "SCALE": "0.004", "SYSTEMS": "lanyard", **env}
    return subprocess.Popen([sys.executable, BENCH, *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def bench(place, *args, **env):
    process = start(place, *args, **env)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out


@test
def every_figure_is_a_line_of_json_and_stands_in_the_table():
    place = temp_dir("bench")
    systems = ["lanyard"] + ["rsync"] * bool(shutil.which("rsync"))
    out = bench(place, "--quick", "big", SYSTEMS=" ".join(systems))
    about, *figures = [json.loads(line) for line in out.split("\n\n")[0].splitlines()]
    assert about["about"]["cpu"] and list(about["about"]["versions"]) == systems, about
    assert all(set(f) == FIGURE and f["value"] >= 0 for f in figures), figures
    assert {(f["system"], f["figure"]) for f in figures} >= {(s, "speed") for s in systems}, figures
    table = out.split("\n\n")[1]
    assert all(any(line.startswith(f["row"]) and f["figure"] in line for line in table.splitlines()) for f in figures), table
    assert os.listdir(place) == ["results"], os.listdir(place)


def figure(system, value, pair):
    return json.dumps({"row": "big", "figure": "speed", "system": system, "size": 1000, "pair": pair, "value": value, "unit": "MB/s"})


@test
def a_missed_target_says_so_and_the_document_can_be_made_without_a_run():
    place = temp_dir("report")
    with open(os.path.join(place, "results"), "w", encoding="utf-8") as f:
        for pair, ours in enumerate((59, 61, 80)):                  # of 10 at least 6 times as much: yes; of 100 at least 0.8: no
            f.write("\n".join([figure("lanyard", ours, pair), figure("syncthing", 10, pair), figure("rsync", 100, pair)]) + "\n")
    out = bench(place, "--report", os.path.join(place, "results"), "--docs", place)
    lines = out.split("\n\n")[1].splitlines()
    assert any("6 x syncthing" in line and "6.1 x" in line and "met" in line for line in lines), out
    assert any("0.8 x rsync" in line and "0.61 x" in line and "MISSED" in line for line in lines), out
    text = read(place, "BENCHMARKS.md").decode()
    assert "1 are met and 1 are missed" in text and "| 61 (59 to 80) | 10 | 100 |" in text and "**MISSED**" in text, text
    assert "big | insert" not in text and "not measured" in text, text
    again = temp_dir("again")
    bench(place, "--report", os.path.join(place, "bench/results.jsonl"), "--docs", again)
    assert read(again, "BENCHMARKS.md").decode() == text


def is_node(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().startswith(b"lanyardd\0run\0")
    except OSError:
        return False


@test
def an_interrupt_leaves_nothing_behind():
    place = temp_dir("interrupted")
    process = start(place, "--quick", "big", SCALE="4")
    wait_until(lambda: any(map(is_node, descendants(process.pid))), 60, "a node runs")
    below = descendants(process.pid)[:-1]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    assert process.returncode == 1, process.returncode
    assert not [pid for pid in below if os.path.exists(f"/proc/{pid}")]
    assert os.listdir(place) == ["results"], os.listdir(place)


@test
def one_slow_save_of_a_hundred_is_not_the_99th_percentile():
    sys.path.insert(0, os.path.dirname(BENCH))
    from pairs import percentile
    assert [percentile(range(1, n + 1), 99) for n in (1, 2, 99, 100, 101, 400)] == [1, 2, 99, 99, 100, 396]


@test
def growth_is_drawn():
    if not shutil.which("gnuplot"):
        raise Skip("gnuplot is not installed")
    place = temp_dir("drawn")
    with open(os.path.join(place, "results"), "w", encoding="utf-8") as f:
        f.write(figure("lanyard", 59, 1) + "\n" + figure("lanyard", 61, 1).replace("1000", "4000") + "\n")
    bench(place, "--report", os.path.join(place, "results"), "--docs", place)
    assert b"</svg>" in read(place, "bench/big-speed.svg") and b"![" in read(place, "BENCHMARKS.md")


tap.main()
