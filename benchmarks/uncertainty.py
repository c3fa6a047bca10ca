"""Measure the uncertainty of sGDML models: its cost, its error and its honesty.

Every row is measured on its own and kept in ``uncertainty.json`` beside
``docs/benchmarks/uncertainty.md``.

    python benchmarks/uncertainty.py --row aspirin
    python benchmarks/uncertainty.py --missing
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from peers.environment import run_measured
from reporting import Figures, Page, number, table, verdict
from rows import measure_rows, row_arguments

import kraft
from kraft.data.geometry import duplicate_groups, pair_distances

SCRIPT = Path(__file__).resolve().parent / "peers" / "kraft_uncertainty.py"
METHODS = ("exact", "committee", "landmarks")
COST_BAR, NOVELTY_BAR = 10.0, 2.0
COVERAGE = (0.93, 0.97)
BATCH = 64
SAME = 1e-5
"""Frames whose distances agree to this (Å) are common to two files."""

Parts = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model, frames like those it learned from, and frames that are not.

    Attributes
    ----------
    n_train, n_valid, n_test
        Frames of the file; those of validation are for the calibration.
    shifted
        What the other frames are, in words; empty when there are none.
    parts
        How training, validation and test frames are told.
    time
        Whether the cost is measured, too.
    """

    label: str
    file: str
    n_train: int
    n_valid: int
    n_test: int
    parts: Callable[[Case, Path], Parts]
    shifted: str = ""
    time: bool = False


def main() -> None:
    options = row_arguments(__doc__, "uncertainty", CASES).parse_args()

    def figures(name: str, _: Page) -> Figures:
        case = CASES[name]
        if options.quick:
            case = replace(case, n_train=20, n_valid=24, n_test=24)
        return measure(case, options.data, threads=options.threads, quick=options.quick)

    measure_rows(options, options.row, figures, render)


def measure(case: Case, data: Path, *, threads: int, quick: bool) -> Figures:
    """Return the figures of a row."""
    source = data / case.file
    if not source.exists():
        raise FileNotFoundError(f"there is no {source}: set KRAFT_REFERENCE_DATA or --data")
    request = {
        **case.parts(case, data),
        "dataset": str(source),
        "methods": METHODS,
        "time": case.time,
        "batch": 4 if quick else BATCH,
        "seconds": 0.05 if quick else 1.0,
    }
    if quick:
        request["settings"] = {"length_scale": 30.0, "regularization": 1e-9}
    answer = run_measured(sys.executable, SCRIPT, request, threads=threads)
    return {"label": case.label, "shifted": case.shifted, "batch": request["batch"], **answer}


def _drawn(case: Case, frames: np.ndarray) -> tuple[list[int], list[int], list[int]]:
    """Draw training, validation and test frames."""
    order = np.random.default_rng(0).permutation(frames)
    ends = np.cumsum([case.n_train, case.n_valid, case.n_test])
    train, valid, test, _ = np.split(order, ends)
    return sorted(train.tolist()), sorted(valid.tolist()), sorted(test.tolist())


def _parts(source: Path, drawn: tuple[list[int], list[int], list[int]], **others: Any) -> Parts:
    train, valid, test = drawn
    tests = {"held out": {"dataset": str(source), "indices": test}, **others}
    return {"train_indices": train, "valid_indices": valid, "tests": tests}


def _different(dataset: kraft.Dataset) -> np.ndarray:
    return np.flatnonzero(duplicate_groups(dataset) == np.arange(len(dataset)))


def at_random(case: Case, data: Path) -> Parts:
    """Split a file at random."""
    source = data / case.file
    return _parts(source, _drawn(case, _different(kraft.read(source))))


def from_300_k_to_mixed(case: Case, data: Path) -> Parts:
    """Learn at 300 K and test on frames of 300 to 1200 K that are not among those of 300 K."""
    source, other = data / case.file, data / "data/3bpa_mixedT.npz"
    known = pair_distances(kraft.read(source).positions)
    mixed = pair_distances(kraft.read(other).positions)
    new = [i for i, one in enumerate(mixed) if np.abs(known - one).max(axis=1).min() > SAME]
    shifted = np.random.default_rng(1).permutation(new)[: case.n_test]
    drawn = _drawn(case, _different(kraft.read(source)))
    others = {"shifted": {"dataset": str(other), "indices": sorted(shifted.tolist())}}
    return _parts(source, drawn, **others)


def from_compact_to_extended(case: Case, data: Path) -> Parts:
    """Learn from the more compact half of the frames and test on the most extended fifth."""
    source = data / case.file
    dataset = kraft.read(source)
    masses = _masses(dataset.atomic_numbers)
    center = np.einsum("n,bnx->bx", masses, dataset.positions) / masses.sum()
    from_center = ((dataset.positions - center[:, None]) ** 2).sum(axis=2)
    by_size = np.argsort(from_center @ masses)
    compact, extended = by_size[: len(by_size) // 2], by_size[-len(by_size) // 5 :]
    shifted = np.random.default_rng(1).permutation(extended)[: case.n_test]
    others = {"shifted": {"dataset": str(source), "indices": sorted(shifted.tolist())}}
    return _parts(source, _drawn(case, compact), **others)


def _masses(atomic_numbers: np.ndarray) -> np.ndarray:
    from ase.data import atomic_masses

    masses: np.ndarray = atomic_masses[atomic_numbers]
    return masses


CASES = {
    "aspirin": Case(
        "aspirin, CCSD", "data/aspirin_ccsd_train.npz", 200, 200, 200, at_random, time=True
    ),
    "ethanol": Case(
        "ethanol, CCSD(T)", "data/ethanol_ccsd_t_train.npz", 200, 200, 200, at_random, time=True
    ),
    "3bpa": Case(
        "3BPA, 300 K",
        "data/3bpa_300K.npz",
        200,
        100,
        150,
        from_300_k_to_mixed,
        "frames of 300, 600 and 1200 K",
    ),
    "ac-ala3": Case(
        "Ac-Ala3-NHMe, compact",
        "data/ac_ala3_nhme_gfn2.npz",
        100,
        60,
        60,
        from_compact_to_extended,
        "the most extended fifth",
    ),
}


def render(rows: dict[str, Figures]) -> str:
    """Return the page."""
    parts = ["# Uncertainty of sGDML models", "", "Made by `benchmarks/uncertainty.py`.", ""]
    parts += [*_cost(rows), *_against_exact(rows), *_coverage(rows), *_ranking(rows)]
    return "\n".join(parts)


def _found(rows: dict[str, Figures]) -> list[tuple[str, Figures, str, Figures]]:
    """Return every row and method that gave figures."""
    return [
        (name, row, method, row["methods"][method])
        for name, row in rows.items()
        for method in METHODS
        if "error" not in row["methods"][method]
    ]


def _cost(rows: dict[str, Figures]) -> list[str]:
    lines, bars = [], []
    for name, row, method, found in _found(rows):
        if "batch" not in found:
            continue
        plain, batch = row["plain"]["batch"], row["batch"]
        ratio = found["batch"] / plain
        lines.append(
            [
                *(name, row["n_labels"], method, found["direction"]),
                *(number(found["preparation"]), number(1e3 * plain / batch)),
                *(number(1e3 * found["batch"] / batch), f"{ratio:.1f}"),
            ]
        )
        if method != "exact" and name == "aspirin":
            bars.append(_bar(name, f"{method}: cost by that of the mean", ratio, COST_BAR))
    novelty = []
    for name, row in rows.items():
        if "plain" in row:
            times = row["plain"]
            ratio = (times["one"] + times["novelty_one"]) / times["one"]
            cells = [1e6 * times[key] for key in ("one", "novelty_one")]
            novelty.append([name, *map(number, cells), f"{ratio:.2f}"])
            bars.append(_bar(name, "a step with novelty by a plain one", ratio, NOVELTY_BAR))
    if not lines:
        return []
    header = ("data", "labels", "method", "direction", "preparation, s", "mean, ms", "with std, ms")
    return [
        "## Cost",
        "",
        table((*header, "ratio"), lines),
        f"A geometry of a batch of {BATCH}, energies and forces without and with their deviations.",
        "",
        table(
            ("data", "prediction of one geometry, µs", "its novelty, µs", "both by one"), novelty
        ),
        table(("row", "bar", "measured", "wanted", ""), bars),
    ]


def _bar(name: str, what: str, value: float, bar: float) -> list[str]:
    return [name, what, f"{value:.2f}", f"at most {bar:g}", verdict(value <= bar)]


def _against_exact(rows: dict[str, Figures]) -> list[str]:
    header = ("data", "frames", "method", "ratio to exact: 10 %", "median", "90 %")
    lines = []
    for name, _, method, found in _found(rows):
        for test, figures in found["tests"].items():
            against = figures["against_exact"]
            if method != "exact" and against is not None:
                ratios = [f"{against[key]:.2f}" for key in ("low", "median", "high")]
                lines.append([name, test, method, *ratios, f"{against['rank_correlation']:.2f}"])
    note = (
        "Deviations of force components over the exact ones, uncalibrated, and Spearman's "
        "correlation of the mean deviations of a frame."
    )
    title = "## Cheap methods against the exact deviations"
    return [title, "", table((*header, "rank correlation"), lines), note, ""]


def _coverage(rows: dict[str, Figures]) -> list[str]:
    header = ("data", "frames", "force MAE", "method", "factor", "coverage before", "after")
    lines, bars = [], []
    for name, row, method, found in _found(rows):
        for test, figures in found["tests"].items():
            before, after = figures["before"], figures["after"]
            lines.append(
                [
                    *(name, test, number(row["tests"][test]["force_mae"]), method),
                    f"{found['factors']['forces']:.2f}",
                    *(f"{100 * part['coverage']:.1f} %" for part in (before, after)),
                    *(number(part["length"]) for part in (before, after)),
                ]
            )
            if test == "held out":
                low, high = COVERAGE
                met = verdict(low <= after["coverage"] <= high)
                wanted = f"{100 * low:g} to {100 * high:g} %"
                share = f"{100 * after['coverage']:.1f} %"
                bars.append([name, f"{method}: coverage after calibration", share, wanted, met])
    failures = [
        f"- {name}, {method}: {row['methods'][method]['error']}"
        for name, row in rows.items()
        for method in METHODS
        if "error" in row["methods"][method]
    ]
    shifted = [f"{name}: {row['shifted']}" for name, row in rows.items() if row["shifted"]]
    text = [
        "## Coverage of 95 % intervals of force components",
        "",
        table((*header, "length before", "after"), lines),
        "Errors and mean lengths in kcal/mol/Å. The factor of the calibration is fitted to frames "
        f"like the held-out ones; shifted are, for {'; for '.join(shifted) or 'none'}.",
        "",
    ]
    if failures:
        text += ["Not to be had:", "", *failures, ""]
    return [*text, table(("row", "bar", "measured", "wanted", ""), bars)]


def _ranking(rows: dict[str, Figures]) -> list[str]:
    """Return how well deviations and novelty rank errors, and whether they grow with them."""
    header = ("data", "frames", "force MAE", "by what", "rank correlation", "shifted by held out")
    lines = []
    for name, row in rows.items():
        for test, errors in row["tests"].items():
            mae = number(errors["force_mae"])
            growth = ""
            if test != "held out":
                held = row["tests"]["held out"]
                growth = (
                    f"{errors['novelty'][1] / held['novelty'][1]:.2f} "
                    f"(error {errors['force_mae'] / held['force_mae']:.2f})"
                )
            lines.append([name, test, mae, "novelty", f"{errors['novelty_rank']:.2f}", growth])
            for _, _, method, found in _found({name: row}):
                figures = found["tests"][test]["before"]
                if test != "held out":
                    growth = f"{figures['std'] / found['tests']['held out']['before']['std']:.2f}"
                rank = f"{figures['rank_correlation']:.2f}"
                lines.append([name, test, mae, f"std, {method}", rank, growth])
    note = (
        "Spearman's correlation, over frames, of the novelty or the mean deviation with the mean "
        "error of the forces, and by how much they are larger for shifted than for held-out frames "
        "(for the novelty its medians)."
    )
    return ["## Do they grow with the error?", "", table(header, lines), note, ""]


if __name__ == "__main__":
    main()
