"""The page: our figures beside the paper's and the bars, and the learning curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from plotting import COLORS, Panel, Series, panels_figure, save_png
from reporting import Figures, number, table, verdict

from .cases import PAPER

Rows = dict[str, Figures]

KINDS = {"aff": "AFF", "sgdml": "sGDML"}
TIME_RATIO, MEMORY_RATIO = 10.0, 5.0
COVERAGE = (0.93, 0.97)
SGDML_FRAMES = 1000  # those of the paper's sGDML models


def page_renderer(output: Path) -> Callable[[Rows], str]:
    """Return what makes the page of all rows; its plots go beside ``output``."""
    return lambda rows: render(rows, output.parent)


def render(rows: Rows, folder: Path) -> str:
    """Return the page."""
    of_kind = {
        kind: {name: row for name, row in rows.items() if row["kind"] == kind}
        for kind in ("accuracy", "curve", "cost")
    }
    parts = [
        "# Atomized force fields (AFF)",
        "",
        "Made by `benchmarks/aff.py` after paper 001.",
        "",
    ]
    if of_kind["accuracy"]:
        parts += _accuracy(of_kind["accuracy"]) + _intervals(of_kind["accuracy"])
        parts += _splits(of_kind["accuracy"])
    if of_kind["cost"]:
        parts += _cost(of_kind["cost"])
    if of_kind["curve"]:
        parts += _curves(of_kind["curve"], folder)
    return "\n".join(parts)


def _accuracy(rows: Rows) -> list[str]:
    header = ("data", "frames", "model", "force MAE", "energy MAE", "s", "symmetries", "parameters")
    lines, bars = [], []
    for name, row in rows.items():
        frames = f"{row['n_train']} + {row['n_valid']} + {row['n_test']}"
        lines += [[name, frames, KINDS[kind], *_model_cells(row[kind])] for kind in KINDS]
        if row["order"] == "random":
            bars += _error_bars(name, row)
    text = [
        "## Errors on the same frames",
        "",
        table(header, lines),
        "Forces in kcal/mol/Å, energies in kcal/mol; frames to train on, to calibrate on and to "
        "test on. `-time`: split by time. Energies of recovered MD17 sets are not reference "
        "energies and are left out. The time is that of the training with all its choices. "
        "Parameters are the range (/Å) and what is added to the diagonal.",
        "",
    ]
    if bars:
        text += [table(("row", "bar", "measured", "wanted", ""), bars)]
    return [*text, *_beside_the_paper(rows)]


def _model_cells(run: Figures) -> list[str]:
    if "error" in run:
        return ["failed", "", "", "", ""]
    test, choice = run["test"], run["choice"]
    return [
        number(test["force_mae"]),
        "" if test["energy_mae"] is None else number(test["energy_mae"]),
        f"{run['seconds']['total']:.0f}",
        str(run["n_permutations"]),
        f"{choice['length_scale']:.3g}, {choice['regularization']:.1g}",
    ]


def _error_bars(name: str, row: Figures) -> list[list[str]]:
    lines = []
    for what, key, bar in (
        ("force MAE, kcal/mol/Å", "force_mae", row["force_bar"]),
        ("energy MAE, kcal/mol", "energy_mae", row["energy_bar"]),
    ):
        if bar is not None:
            value = row["aff"]["test"][key]
            lines.append(
                [name, f"AFF {what}", number(value), f"at most {bar:g}", verdict(value <= bar)]
            )
    return lines


def _beside_the_paper(rows: Rows) -> list[str]:
    header = ("data", "", "training frames", "force MAE", "energy MAE", "coverage", "length", "s")
    lines = []
    for name, row in rows.items():
        paper = PAPER.get(row["molecule"])
        if paper is None or row["order"] != "random":
            continue
        for kind in KINDS:
            run = row[kind]
            cells = [name, f"kraft, {KINDS[kind]}", row["n_train"], *_model_cells(run)[:2]]
            lines.append([*cells, *_forces_interval(run), *_model_cells(run)[2:3]])
        lines.append(
            [
                *(name, "paper, AFF", paper.n_train, f"{paper.force_mae:g}"),
                *(f"{paper.energy_mae:g}", f"{paper.coverage:g} %", f"{paper.length:g}"),
                f"{paper.seconds:g}",
            ]
        )
        errors = (f"{paper.sgdml_force_mae:g}", f"{paper.sgdml_energy_mae:g}")
        lines.append([name, "paper, sGDML", SGDML_FRAMES, *errors, "", "", paper.sgdml_seconds])
    if not lines:
        return []
    note = (
        "Coverage and mean length (kcal/mol/Å) of the 95 % intervals of force components, ours "
        "before calibration as the paper's are. The paper's MD17 rows are of more training frames "
        "than the recovered sets have, and its times of another machine."
    )
    return ["### Beside Table I of the paper", "", table(header, lines), note, ""]


def _forces_interval(run: Figures) -> list[str]:
    if "error" in run or "error" in run.get("intervals", {"error": ""}):
        return ["", ""]
    forces = run["intervals"]["before"]["forces"]
    return [f"{100 * forces['coverage']:.1f} %", number(forces["length"])]


def _intervals(rows: Rows) -> list[str]:
    header = (
        *("data", "model", "method", "coverage before", "after", "mean length before", "after"),
        *("energies: coverage before", "after", "rank correlation", "ms a geometry"),
    )
    lines, bars, failures = [], [], []
    for name, row in rows.items():
        for kind in KINDS:
            run = row[kind]
            if "error" in run or "intervals" not in run:
                continue
            if "error" in run["intervals"]:
                failures.append(f"- {name}, {KINDS[kind]}: {run['intervals']['error']}")
                continue
            lines.append([name, KINDS[kind], *_interval_cells(run["intervals"])])
            if kind == "aff" and row["order"] == "random":
                bars += _interval_bars(name, row)
    text = [
        "## 95 % intervals",
        "",
        table(header, lines),
        "Coverage and mean length (kcal/mol/Å) over the force components of the test frames, "
        "before and after one factor was fitted to frames that are for nothing else. The rank "
        "correlation is that of the mean deviation with the mean error of a frame's forces.",
        "",
    ]
    if failures:
        text += ["Not to be had:", "", *failures, ""]
    return [*text, table(("row", "bar", "measured", "wanted", ""), bars)]


def _interval_cells(found: Figures) -> list[str]:
    before, after = found["before"], found["after"]
    energies = ["", ""]
    if before["energies"] is not None:
        energies = [f"{100 * part['energies']['coverage']:.1f} %" for part in (before, after)]
    return [
        found["method"],
        *(f"{100 * part['forces']['coverage']:.1f} %" for part in (before, after)),
        *(number(part["forces"]["length"]) for part in (before, after)),
        *energies,
        f"{after['forces']['rank_correlation']:.2f}",
        number(1000 * found["seconds"]["per_geometry"]),
    ]


def _interval_bars(name: str, row: Figures) -> list[list[str]]:
    after = row["aff"]["intervals"]["after"]["forces"]
    low, high = COVERAGE
    lines = [
        [
            name,
            "AFF coverage after calibration",
            f"{100 * after['coverage']:.1f} %",
            f"{100 * low:g} to {100 * high:g} %",
            verdict(low <= after["coverage"] <= high),
        ]
    ]
    paper = PAPER.get(row["molecule"])
    if paper is not None:
        lines.append(
            [
                name,
                "AFF mean length after calibration",
                number(after["length"]),
                f"at most {paper.length:g}",
                verdict(after["length"] <= paper.length),
            ]
        )
    return lines


def _splits(rows: Rows) -> list[str]:
    lines = []
    for name, row in rows.items():
        other = rows.get(f"{name}-time")
        if other is None:
            continue
        for kind in KINDS:
            runs = (row[kind], other[kind])
            if any("error" in run for run in runs):
                continue
            errors = [run["test"]["force_mae"] for run in runs]
            ratio = f"{errors[1] / errors[0]:.1f}"
            covered = [_covered_after(run["intervals"]) for run in runs]
            lines.append([name, KINDS[kind], *map(number, errors), ratio, *covered])
    if not lines:
        return []
    header = (
        "data",
        "model",
        "force MAE, random",
        "by time",
        "ratio",
        "coverage, random",
        "by time",
    )
    return ["## What a split by time says", "", table(header, lines), SPLIT_NOTE]


def _covered_after(found: Figures) -> str:
    return "" if "error" in found else f"{100 * found['after']['forces']['coverage']:.1f} %"


SPLIT_NOTE = """\
Frames of these runs follow each other within femtoseconds. Of a random third or so of them every
test frame has training frames a step or two away in time, so the model interpolates along one
trajectory: the errors of the random split are those of filling its gaps, and say little about
geometries that the trajectory has not come to. Trained on the first part, calibrated on what
follows and tested on the end, the model must go where it has not been; that is what a simulation
asks for.
The intervals know of it only as far as the test frames are outside in the features.
"""


def _cost(rows: Rows) -> list[str]:
    header = (
        "data",
        "geometries",
        "model",
        "solver",
        "training, s",
        "choice, s",
        "wall, s",
        "peak, GB",
    )
    lines, bars = [], []
    for name, row in rows.items():
        for kind in KINDS:
            run = row[kind]
            if "error" in run:
                lines.append([name, row["n_train"], KINDS[kind], "failed", "", "", "", ""])
                continue
            lines.append(
                [name, row["n_train"], KINDS[kind], run["solver"]]
                + [number(run["seconds"][stage]) for stage in ("total", "choice")]
                + [number(run["process"]["wall_seconds"]), number(_peak(run) / 1e9)]
            )
        if "error" not in row["sgdml"]:
            bars += _cost_bars(name, row)
    text = ["## Time and memory of the training, beside dense sGDML", "", table(header, lines)]
    note = (
        "Each in a fresh process; the peak is that of the whole process tree. The training has all "
        "its choices in it, and ends with the model; the wall time has reading and testing, too."
    )
    return [*text, note, "", table(("row", "bar", "measured", "wanted", ""), bars)]


def _cost_bars(name: str, row: Figures) -> list[list[str]]:
    seconds = row["sgdml"]["seconds"]["total"] / row["aff"]["seconds"]["total"]
    memory = _peak(row["sgdml"]) / _peak(row["aff"])
    wanted = (("sGDML's time by AFF's", seconds, TIME_RATIO),)
    wanted += (("sGDML's peak by AFF's", memory, MEMORY_RATIO),)
    return [
        [name, what, f"{value:.1f}", f"at least {bar:g}", verdict(value >= bar)]
        for what, value, bar in wanted
    ]


def _peak(run: Figures) -> float:
    process = run["process"]
    return float(process["peak_tree_bytes"] or process["max_process_bytes"])


def _curves(rows: Rows, folder: Path) -> list[str]:
    """Return learning curves with times (figure 3 of the paper) and intervals (figure 5)."""
    molecules: dict[str, list[Figures]] = {}
    for row in rows.values():
        molecules.setdefault(row["molecule"], []).append(row)
    for found in molecules.values():
        found.sort(key=lambda row: row["n_train"])
    panels = [
        _error_panel(found, quantity)
        for quantity in ("force_mae", "energy_mae")
        for found in molecules.values()
        if found[0]["aff"]["test"][quantity] is not None
    ]
    save_png(panels_figure(panels), folder / "aff_learning.png")
    save_png(
        panels_figure([_interval_panel(found) for found in molecules.values()]),
        folder / "aff_intervals.png",
    )
    header = ("data", "geometries", "AFF force MAE", "energy MAE", "s", "length", "coverage")
    header += ("sGDML force MAE", "energy MAE", "s")
    lines = []
    for molecule, found in molecules.items():
        for row in found:
            aff = row["aff"]
            forces = aff["intervals"]["before"]["forces"]
            cells = [molecule, row["n_train"], *_model_cells(aff)[:3], number(forces["length"])]
            cells.append(f"{100 * forces['coverage']:.1f} %")
            sgdml = row.get("sgdml")
            lines.append([*cells, *(["", "", ""] if sgdml is None else _model_cells(sgdml)[:3])])
    return [
        "## Learning curves",
        "",
        "After figure 3 of the paper: errors (lines) and training times (bars).",
        "",
        "![Learning curves with training times](aff_learning.png)",
        "",
        "After its figure 5: mean length of AFF's 95 % intervals of force components relative to "
        "the range of the reference forces (bars), and 95 % less their coverage (line), before "
        "calibration.",
        "",
        "![Intervals](aff_intervals.png)",
        "",
        table(header, lines),
    ]


def _error_panel(found: list[Figures], quantity: str) -> Panel:
    series, bars = [], []
    for kind, color in zip(KINDS, COLORS, strict=False):
        runs = [(row["n_train"], row.get(kind, {"error": ""})) for row in found]
        runs = [(size, run) for size, run in runs if "error" not in run]
        sizes = [size for size, _ in runs]
        errors = [run["test"][quantity] for _, run in runs]
        series.append(Series(KINDS[kind], sizes, errors, color))
        bars.append(Series("", sizes, [run["seconds"]["total"] for _, run in runs], color))
    label = "force MAE, kcal/mol/Å" if quantity == "force_mae" else "energy MAE, kcal/mol"
    return Panel(found[0]["label"], "training geometries", label, series, bars, "training time, s")


def _interval_panel(found: list[Figures]) -> Panel:
    sizes = [row["n_train"] for row in found]
    runs = [row["aff"] for row in found]
    forces = [run["intervals"]["before"]["forces"] for run in runs]
    misses = [95.0 - 100.0 * part["coverage"] for part in forces]
    lengths = [
        100.0 * part["length"] / run["test"]["force_range"]
        for part, run in zip(forces, runs, strict=True)
    ]
    return Panel(
        found[0]["label"],
        "training geometries",
        "95 % less coverage, points",
        [Series("95 % less coverage", sizes, misses)],
        [Series("", sizes, lengths, COLORS[3])],
        "mean length by range of forces, %",
        log=False,
        lines=(0.0,),
    )
