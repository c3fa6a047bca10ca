"""Measure what a training takes, in kraft and in sgdml: time and memory.

200 geometries of aspirin (CCSD), length scale 20, regularization 1e-10, symmetries found on the
way, from the file to the finished model. Writes ``docs/benchmarks/training.md``.

    python benchmarks/training_speed.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from peers.environment import run_measured
from peers.fastest import sgdml_training
from reporting import Figures, Page, arguments, min_and_median, number, scratch, table, verdict

import kraft
from kraft.interfaces.sgdml import read_sgdml_model

DATA = "data/aspirin_ccsd_train.npz"
N_TRAIN = 200
N_COMPARED = 100
LENGTH_SCALE, REGULARIZATION = 20, 1e-10
TIMES_FASTER, MEMORY_FRACTION = 3.0, 0.5
KRAFT_SCRIPT = Path(__file__).parent / "peers" / "kraft_train.py"
SIDES = ("kraft", "sgdml, NumPy assembly", "sgdml, torch assembly")
STAGES = {
    "kraft": ("symmetry", "assembly", "factorization", "solve", "energy_offset"),
    "sgdml": ("symmetry", "assembly", "solve", "integration_constant"),
}


def main() -> None:
    parser = arguments(__doc__, "training")
    parser.add_argument("--repeats", type=int, default=3, help="trainings of each side")
    options = parser.parse_args()
    source = options.data / DATA
    if not source.exists():
        raise SystemExit(f"there is no {source}: set KRAFT_REFERENCE_DATA or --data")
    page = Page(options.output, quick=options.quick, threads=options.threads)
    page.add("aspirin, CCSD", measure(source, options))
    page.write(render)


def measure(source: Path, options: Any) -> Figures:
    """Train in turn: kraft, sgdml with both of its assemblies, and again."""
    n_train, repeats = (10, 1) if options.quick else (N_TRAIN, options.repeats)
    dataset = kraft.read(source)
    parts = kraft.split(dataset, n_train=n_train, n_test=N_COMPARED, seed=0)
    indices = parts.train.provenance.indices.tolist()
    runs: dict[str, list[Figures]] = {side: [] for side in SIDES}
    with scratch() as name:
        folder = Path(name)
        request = {"dataset": str(source), "train_indices": indices}
        for _ in range(repeats):
            ours = run_measured(
                sys.executable,
                KRAFT_SCRIPT,
                {
                    **request,
                    "kernel": "matern52",
                    "length_scale": float(LENGTH_SCALE),
                    "regularization": REGULARIZATION,
                    "model": str(folder / "ours.safetensors"),
                },
                threads=options.threads,
            )
            runs["kraft"].append(ours)
            theirs = sgdml_training(
                {
                    **request,
                    "length_scales": [LENGTH_SCALE],
                    "regularization": REGULARIZATION,
                    "test_indices": [],
                    "model": str(folder / "theirs.npz"),
                    "processes": options.threads,
                },
                threads=options.threads,
            )
            for run in (theirs, *theirs["others"]):
                numpy_side = Path(run["model"]).stem.endswith("_numpy")
                runs[SIDES[1] if numpy_side else SIDES[2]].append(run)
        compared = compare(folder / "ours.safetensors", Path(theirs["model"]), parts.test)
    kept = ("seconds", "process", "memory_at_start_bytes", "n_permutations")
    return {
        "runs": {side: [{key: run[key] for key in kept} for run in runs[side]] for side in SIDES},
        "n_train": n_train,
        **compared,
    }


def compare(ours: Path, theirs: Path, test: kraft.Dataset) -> Figures:
    """Return how far the two models' forces are apart, and from the reference."""
    models = (kraft.load(ours), read_sgdml_model(theirs))
    left, right = (model.predict(test.positions).forces for model in models)
    unit = kraft.Units("kcal/mol").force_factor
    return {
        "difference": float(np.abs(left - right).max() / np.abs(right).max()),
        "force_mae": float(np.abs(left - test.forces).mean() / unit),
        "peer_force_mae": float(np.abs(right - test.forces).mean() / unit),
    }


def render(rows: dict[str, Figures]) -> str:
    """Return the page."""
    sections = [
        "# Time and memory of a training",
        "",
        "Made by `benchmarks/training_speed.py`.",
        "",
    ]
    for name, row in rows.items():
        sections += [f"## {name}, {row['n_train']} geometries", "", *_section(row)]
    return "\n".join(sections)


def _section(row: Figures) -> list[str]:
    runs = row["runs"]
    walls = {side: [run["process"]["wall_seconds"] for run in runs[side]] for side in SIDES}
    totals = {side: [run["seconds"]["total"] for run in runs[side]] for side in SIDES}
    peaks = {side: [_peak(run) for run in runs[side]] for side in SIDES}
    lines = [
        [
            side,
            str(runs[side][0]["n_permutations"]),
            min_and_median(walls[side]),
            min_and_median(totals[side]),
            _stages(side, runs[side]),
            min_and_median(peaks[side], 1e-6),
            number(median(run["memory_at_start_bytes"] for run in runs[side]) / 1e6),
        ]
        for side in SIDES
    ]
    header = ("side", "symmetries", "whole process, s", "training, s", "stages, s")
    peer_wall, peer_total, peer_peak = (
        min(min(kind[side]) for side in SIDES[1:]) for kind in (walls, totals, peaks)
    )
    ratios = (
        ("whole process", peer_wall / min(walls["kraft"]), TIMES_FASTER),
        ("training", peer_total / min(totals["kraft"]), TIMES_FASTER),
    )
    fraction = median(peaks["kraft"]) / peer_peak
    bars = [
        [f"times faster, {what}", number(ratio), f"{bar:g}", verdict(ratio >= bar)]
        for what, ratio, bar in ratios
    ]
    bars.append(
        [
            "fraction of the peak memory",
            number(fraction),
            f"{MEMORY_FRACTION:g}",
            verdict(fraction <= MEMORY_FRACTION),
        ]
    )
    agreement = (
        f"On {N_COMPARED} other geometries the two models' forces differ by "
        f"{row['difference']:.1e} of the largest; force MAE {number(row['force_mae'])} (kraft) and "
        f"{number(row['peer_force_mae'])} (sgdml) kcal/mol/Å."
    )
    return [
        table((*header, "peak memory, MB", "at start, MB"), lines),
        table(("against sgdml's better side", "measured", "bar", ""), bars),
        agreement,
        "",
        NOTES,
    ]


def _stages(side: str, runs: list[Figures]) -> str:
    best = min(runs, key=lambda run: run["seconds"]["total"])["seconds"]
    names = STAGES["kraft" if side == "kraft" else "sgdml"]
    return ", ".join(f"{name.replace('_', ' ')} {number(best[name], 2)}" for name in names)


def _peak(run: Figures) -> float:
    return float(run["process"]["peak_tree_bytes"] or run["process"]["max_process_bytes"])


NOTES = """\
Every training is a process of its own; the sides take turns. *Whole process* is its wall time with
the start of the interpreter, imports, reading the data and writing the model; *training* starts
with the data in memory and ends with the finished model, symmetries and integration constant
included. Each figure is the smallest of the repeats, in parentheses the median; the stages are
those of the fastest repeat. The peak is that of the whole process tree (worker processes count;
shared pages count once), *at start* what the interpreter and its libraries take of it before any
work. Times are held against the fastest of all of sgdml's runs, memory against the smallest.
"""


if __name__ == "__main__":
    main()
