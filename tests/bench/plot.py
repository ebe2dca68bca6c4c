"""Curves of the benchmark as SVG, by gnuplot: how a figure grows with the size, a line for each system with the range of its runs."""
import os
import re
import shutil
import subprocess

import plan

COLOURS = {"lanyard": "#0072b2", "syncthing": "#d55e00", "rsync": "#009e73"}
HEAD = """set terminal svg size 640,360 dynamic background rgb "white" font "sans-serif,12"
set output "{output}"
set title "{title}"
set xlabel "{x}"
set ylabel "{y}"
set logscale xy
set format x "{format_x}"
set format y "%.10g"
set grid
set key outside right top
"""


def units(size_unit):
    """(divisor, name) of the sizes on the axis."""
    return (1e6, "MB") if size_unit == "bytes" else (1, size_unit)


def points(results, row, figure, system, divisor):
    found = [(size, results.summary(row, figure, system, size)) for size in results.sizes(row=row, figure=figure, system=system)]
    return [f"{size / divisor:g} {s.median:g} {s.least:g} {s.most:g}" for size, s in found if s.least > 0]


def script(results, row, figure, output):
    """What gnuplot reads; None when no system has two sizes."""
    divisor, name = units(plan.stage_of(row).unit)
    data = {system: points(results, row, figure, system, divisor) for system in results.systems(row=row, figure=figure)}
    if not any(len(lines) > 1 for lines in data.values()):
        return None
    text = HEAD.format(output=output, title=f"{row}: {figure}", x=name, y=results.unit(row, figure), format_x="%.10g")
    for system, lines in data.items():
        text += f"${system} << END\n" + "\n".join(lines) + "\nEND\n"
    curves = []
    for system, lines in data.items():
        if lines:
            colour = f'linecolor rgb "{COLOURS[system]}"'
            curves.append(f'${system} using 1:2 with linespoints pointtype 7 linewidth 2 {colour} title "{system}"')
            curves.append(f"${system} using 1:2:3:4 with yerrorbars pointtype 7 {colour} notitle")
    return text + "plot " + ", \\\n     ".join(curves) + "\n"


def curves(results, row, folder):
    """Draws what can be drawn; returns the names of the files."""
    if not shutil.which("gnuplot"):
        return []
    names = []
    for figure in results.names(row):
        name = f"{row}-{re.sub(r'[^a-z0-9]+', '-', figure.lower())}.svg"
        text = script(results, row, figure, os.path.join(folder, name))
        if text:
            subprocess.run(["gnuplot"], input=text, text=True, check=True, stdout=subprocess.DEVNULL)
            names.append(name)
    return names
