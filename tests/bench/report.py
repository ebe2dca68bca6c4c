"""What the results say: a table for a terminal, docs/BENCHMARKS.md, and the curves beside it."""
import os

import plan
import plot

COLUMNS = ("row", "figure", "size", *plan.ALL)
NOT_MEASURED, BOLD = "not measured", "**MISSED**"


def cell(summary):
    """The median, and the range where there were several runs."""
    if not summary:
        return "-"
    text, least, most = map(plan.number, summary[:3])
    return text if least == most else f"{text} ({least} to {most})"


def lines_of(results, rows):
    """A line of cells for each figure of each size."""
    lines = []
    for row in rows:
        unit = plan.stage_of(row).unit
        for figure in results.names(row):
            for size in results.sizes(row=row, figure=figure):
                cells = [cell(results.summary(row, figure, system, size)) for system in plan.ALL]
                lines.append([row, f"{figure}, {results.unit(row, figure)}", plan.size_text(size, unit), *cells])
    return lines


def judged(verdict, missed="MISSED"):
    """The cells of a target's line: the last one says whether it is met."""
    t = verdict.target
    stage = plan.stage_of(t.row)
    wanted = t.text(verdict.size or stage.size, verdict.unit)
    met = NOT_MEASURED if verdict.met is None else "met" if verdict.met else missed
    if verdict.met is not None and verdict.size < stage.size:
        met += f", at {plan.size_text(verdict.size, stage.unit)} and not {plan.size_text(stage.size, stage.unit)}"
    return [t.row, t.figure, wanted, verdict.found or "-", met]


def aligned(heads, lines):
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in [heads, *lines])


def markdown(heads, lines):
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *lines])


def table(results):
    rows = results.rows()
    text = aligned(COLUMNS, lines_of(results, rows))
    verdicts = [judged(v) for v in results.verdicts(rows)]
    if verdicts:
        text += "\n\n" + aligned(("row", "figure", "target", "found", ""), verdicts)
    return text


# ---- the document ----

def about(results):
    a = results.about
    lines = [f"* {name}: {a[key]}" for name, key in (("CPU", "cpu"), ("Cores", "cores"), ("Kernel", "kernel"), ("File system", "file system"),
                                                      ("Commit", "commit"), ("Day", "day")) if key in a]
    if "memory" in a:
        lines.insert(2, f"* Memory: {a['memory'] / 1e9:.0f} GB")
    return "\n".join(lines + [f"* {name}: {version}" for name, version in a.get("versions", {}).items()])


def summary_of(verdicts):
    met, missed = ([v for v in verdicts if v.met is is_met] for is_met in (True, False))
    rest = len(verdicts) - len(met) - len(missed)
    return f"Of {len(verdicts)} targets {len(met)} are met and {len(missed)} are missed" + (f"; {rest} were not measured." if rest else ".")


def chapter(results, row, curves):
    parts = [f"## {row}", plan.ROWS[row][1], markdown(COLUMNS[1:], [line[1:] for line in lines_of(results, [row])])]
    verdicts = [judged(v, BOLD)[1:] for v in results.verdicts([row])]
    if verdicts:
        parts.append(markdown(("figure", "target", "found", ""), verdicts))
    parts += [f"![{name}](bench/{name})" for name in curves]
    return "\n\n".join(parts)


INTRODUCTION = """# Benchmarks

Written by `make bench` from its results, docs/bench/results.jsonl; `tests/bench/bench --report docs/bench/results.jsonl` writes it anew without
running anything. How to run it is in [HACKING.md](HACKING.md#bench).

All devices of a run are on this machine, and speak over its loopback:

{about}

The systems take turns on the same data (A, B, C, A, B, C ...). A cell is the median of all runs of a size, with the range behind it where there were
several. Contents are random, so nothing can be compressed. A time ends when names, sizes and times of both trees are equal; contents are compared
after the clock has stopped. `rsync` is `rsync --daemon` and a client, which neither encrypt nor verify what arrived, keep no versions, and do not wait for
the disk; Lanyard does before it says that it has something. Bytes on the wire are
what the kernel has counted on a loopback that nobody else uses, headers and acknowledgements included. Contents read are files that were read on
either side, as the kernel tells it (inotify).

{summary}

{overview}"""


def document(results, folder):
    """Writes FOLDER/BENCHMARKS.md and FOLDER/bench/*.svg."""
    rows = results.rows()
    pictures = os.path.join(folder, "bench")
    os.makedirs(pictures, exist_ok=True)
    for old in os.listdir(pictures):
        if old.endswith(".svg"):
            os.unlink(os.path.join(pictures, old))
    verdicts = results.verdicts(plan.ROWS)
    heads = ("row", "figure", "target", "found", "")
    lines = [judged(v, BOLD) for v in verdicts]
    curves = {row: plot.curves(results, row, pictures) for row in rows}
    parts = [INTRODUCTION.format(about=about(results), summary=summary_of(verdicts), overview=markdown(heads, lines))]
    parts += [chapter(results, row, curves[row]) for row in rows]
    with open(os.path.join(folder, "BENCHMARKS.md"), "w", encoding="utf-8") as f:
        f.write("\n\n".join(parts) + "\n")
