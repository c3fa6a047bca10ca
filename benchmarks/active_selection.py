"""Measure learning curves of active selection against random and stratified selection.

From a small start set, frames of a pool are added in batches by each strategy; everything else is
the same. Writes ``docs/benchmarks/selection.md``.

    python benchmarks/active_selection.py
    python benchmarks/active_selection.py --cases ethanol --seeds 0 1
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plotting import COLORS, Panel, Series, panels_figure, save_png
from reporting import Figures, Page, arguments, number, table, verdict

import kraft
from kraft.analysis.errors import evaluate
from kraft.data.geometry import duplicate_groups
from kraft.data.sampling import stratified_sample

KCAL = kraft.Units("kcal/mol")
WANTED_SAVING = 0.25
RANDOM_DRAWS = 3
"""Draws of the random strategies on each split; their mean is compared with."""


@dataclass(frozen=True)
class Case:
    """A pool, and how far it is learned.

    Attributes
    ----------
    n_pool, n_test
        Frames to choose from (those of the start are among them), and to test on.
    sizes
        Training frames: those of the start, then after each batch.
    """

    label: str
    file: str
    n_pool: int
    n_test: int
    sizes: tuple[int, ...]


CASES = {
    "ethanol": Case(
        "ethanol, CCSD(T)",
        "data/ethanol_ccsd_t_train.npz",
        600,
        398,
        (50, 75, 100, 125, 150, 175, 200),
    ),
    "3bpa": Case(
        "3BPA, 300 to 1200 K", "data/3bpa_mixedT.npz", 350, 150, (50, 75, 100, 125, 150, 175, 200)
    ),
}

STRATEGIES = {
    "random": "random",
    "stratified": "stratified by energy",
    "select": "active",
    "equal": "active, all frames alike",
    "bound": "active, true errors known",
}
SPREADING = ("random", "stratified")
"""Strategies that chance decides, so that one draw tells little."""

Choose = Callable[[kraft.ForceField, np.ndarray, int], np.ndarray]
"""From a model, the frames that are left and a number to the frames to add."""


def main() -> None:
    parser = arguments(__doc__, "selection")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the splits")
    parser.add_argument("--sizes", type=int, nargs="+", help="instead of the usual ones")
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            page = Page(options.output, quick=True, threads=options.threads)
            case = replace(CASES["ethanol"], n_pool=60, n_test=40, sizes=(15, 20, 25))
            page.add("ethanol, seed 0", measure(case, 0, options.data))
            page.write(lambda rows: render(rows, Path(folder)))
        return
    for name in [] if options.render else options.cases:
        case = CASES[name]
        if options.sizes:
            case = replace(case, sizes=tuple(options.sizes))
        if not (options.data / case.file).exists():
            raise SystemExit(f"there is no {options.data / case.file}: set --data")
        for seed in options.seeds:
            key = f"{name}, seed {seed}"
            page = Page(options.output, quick=False, threads=options.threads)
            if options.missing and page.has(key):
                continue
            page.add(key, measure(case, seed, options.data))
            page.write(lambda rows: render(rows, options.output.parent))
    if options.render:
        page = Page(options.output, quick=False, threads=options.threads)
        page.write(lambda rows: render(rows, options.output.parent))


def measure(case: Case, seed: int, data: Path) -> Figures:
    """Follow every strategy from the same start, with the same test frames and parameters."""
    dataset = kraft.read(data / case.file)
    different = np.flatnonzero(duplicate_groups(dataset) == np.arange(len(dataset)))
    order = np.random.default_rng([seed, 1]).permutation(different)
    pool = dataset.subset(order[: case.n_pool])
    test = dataset.subset(order[case.n_pool : case.n_pool + case.n_test])
    model, result = kraft.train(
        pool.subset(np.arange(case.sizes[-1])), kernel="matern52", seed=seed
    )
    settings = {
        "kernel": "matern52",
        "length_scale": result.choice.length_scale,
        "regularization": result.choice.regularization,
        "permutations": model.permutations,
    }
    curves: dict[str, list[Figures]] = {}
    for strategy in STRATEGIES:
        draws = RANDOM_DRAWS if strategy in SPREADING else 1
        curves[strategy] = [
            _follow(case, pool, test, settings, _choice(strategy, pool, seed, draw))
            for draw in range(draws)
        ]
    return {
        "label": case.label,
        "case": case.label,
        "sizes": list(case.sizes),
        "n_pool": len(pool),
        "n_test": len(test),
        "length_scale": settings["length_scale"],
        "regularization": settings["regularization"],
        "n_permutations": len(model.permutations),
        "curves": curves,
    }


def _choice(strategy: str, pool: kraft.Dataset, seed: int, draw: int) -> Choose:
    """Return how a strategy chooses from what is left of the pool."""
    rng = np.random.default_rng([seed, 2, draw])

    def choose(model: kraft.ForceField, left: np.ndarray, n: int) -> np.ndarray:
        if strategy == "random":
            return rng.choice(left, n, replace=False)
        if strategy == "stratified":
            return left[stratified_sample(pool.energies[left], n, rng)]
        weighting: Any = {"select": "errors", "equal": "equal"}.get(strategy)
        if strategy == "bound":
            errors = model.predict(pool.positions[left]).forces - pool.forces[left]
            weighting = np.sqrt((errors**2).sum(axis=(1, 2)))
        selected = kraft.select_frames(
            model, pool.positions[left], n, weighting=weighting, seed=seed
        )
        return left[selected.indices]

    return choose


def _follow(
    case: Case,
    pool: kraft.Dataset,
    test: kraft.Dataset,
    settings: dict[str, Any],
    choose: Choose,
) -> Figures:
    """Return the errors after each batch, and the seconds of its choice."""
    trained = np.arange(case.sizes[0])
    seconds = []
    model = _train(pool, trained, settings)
    errors = [_errors(model, test)]
    for before, after in pairwise(case.sizes):
        left = np.setdiff1d(np.arange(len(pool)), trained)
        start = time.perf_counter()
        added = choose(model, left, after - before)
        seconds.append(time.perf_counter() - start)
        trained = np.concatenate([trained, added])
        model = _train(pool, trained, settings)
        errors.append(_errors(model, test))
    names = ("force_mae", "force_rmse", "energy_mae")
    columns = {name: [each[name] for each in errors] for name in names}
    return {**columns, "seconds": seconds}


def _train(pool: kraft.Dataset, frames: np.ndarray, settings: dict[str, Any]) -> kraft.ForceField:
    model, _ = kraft.train(pool.subset(frames), **settings)
    return model


def _errors(model: kraft.ForceField, test: kraft.Dataset) -> Figures:
    errors = evaluate(model, test).in_units(KCAL)
    return {
        "force_mae": errors.force_mae,
        "force_rmse": errors.force_rmse,
        "energy_mae": errors.energy_mae,
    }


def frames_needed(sizes: list[int], errors: list[float], goal: float) -> float:
    """Return the number of frames at which a curve comes down to ``goal``; infinite if never.

    Between two sizes, the logarithm of the error is linear in that of the size.
    """
    if errors[0] <= goal:
        return float(sizes[0])
    points = list(zip(sizes, errors, strict=True))
    for (small, large_error), (large, small_error) in pairwise(points):
        if small_error <= goal:
            share = np.log(large_error / goal) / np.log(large_error / small_error)
            return float(small * (large / small) ** share)
    return float("inf")


def render(rows: dict[str, Figures], folder: Path) -> str:
    """Return the page."""
    cases: dict[str, list[Figures]] = {}
    for row in rows.values():
        cases.setdefault(row["case"], []).append(row)
    parts = ["# Active selection", "", "Made by `benchmarks/active_selection.py`.", ""]
    parts += ["![Learning curves](selection_curves.png)", ""]
    save_png(
        panels_figure(
            [_panel(found, key) for found in cases.values() for key in MEASURES], columns=2
        ),
        folder / "selection_curves.png",
    )
    for key, name in MEASURES.items():
        parts += [f"## {name}", "", *_savings(cases, key)]
    parts += ["## All splits", "", _all_splits(rows), NOTES]
    return "\n".join(parts)


MEASURES = {"force_mae": "Force MAE, kcal/mol/Å", "force_rmse": "Force RMSE, kcal/mol/Å"}


def _mean_curve(row: Figures, strategy: str, key: str) -> list[float]:
    return np.mean([curve[key] for curve in row["curves"][strategy]], axis=0).tolist()


def _panel(found: list[Figures], key: str) -> Panel:
    series = []
    for strategy, color in zip(STRATEGIES, COLORS, strict=False):
        curves = np.array([curve[key] for row in found for curve in row["curves"][strategy]])
        series.append(
            Series(
                STRATEGIES[strategy],
                found[0]["sizes"],
                curves.mean(axis=0).tolist(),
                color,
                low=curves.min(axis=0).tolist(),
                high=curves.max(axis=0).tolist(),
            )
        )
    return Panel(found[0]["label"], "training frames", MEASURES[key], series)


def _savings(cases: dict[str, list[Figures]], key: str) -> list[str]:
    """Return, for the mean curves over all splits, the frames at which each is as good."""
    header = ("data", "strategy", "at the start", "at the end", "frames to random's last error")
    lines = []
    for label, found in cases.items():
        sizes = found[0]["sizes"]
        same = [row for row in found if row["sizes"] == sizes]
        curves = {
            strategy: np.mean([_mean_curve(row, strategy, key) for row in same], axis=0)
            for strategy in STRATEGIES
        }
        goal = float(curves["random"][-1])
        for strategy, curve in curves.items():
            needed = frames_needed(sizes, curve.tolist(), goal)
            saved = 1.0 - needed / sizes[-1]
            cells = ["never", "", ""]
            if np.isfinite(needed):
                cells = [f"{needed:.0f}", f"{100 * saved:.0f} %", ""]
            if strategy == "select" and key == "force_mae":
                cells[2] = verdict(bool(saved >= WANTED_SAVING))
            lines.append([label, STRATEGIES[strategy], *map(number, curve[[0, -1]]), *cells])
    return [table((*header, "saved", f"{100 * WANTED_SAVING:g} % wanted"), lines)]


def _all_splits(rows: dict[str, Figures]) -> str:
    sizes = sorted({size for row in rows.values() for size in row["sizes"]})
    header = ("data, split", "strategy", *map(str, sizes), "s a batch")
    lines = []
    for name, row in rows.items():
        for strategy in STRATEGIES:
            curve = dict(zip(row["sizes"], _mean_curve(row, strategy, "force_mae"), strict=True))
            cells = [number(curve[size]) if size in curve else "" for size in sizes]
            spent = [s for each in row["curves"][strategy] for s in each["seconds"]]
            lines.append([name, STRATEGIES[strategy], *cells, f"{np.mean(spent):.2f}"])
    return table(header, lines)


NOTES = f"""\
Force MAE in kcal/mol/Å by the number of training frames, and the mean time of the choice of a
batch. All strategies go on from the same start, have the same pool and test frames and the same
hyper-parameters (chosen once, on random frames, as many as at the end); the model is trained anew
after each batch. Figures of the strategies that chance decides are means of {RANDOM_DRAWS} draws a
split; bands show the smallest and largest of all splits and draws. *Stratified* uses the energies
of the pool, which a pool without labels does not have. *All frames alike* is `--weighting equal`.
*True errors known* counts the frames by their true errors, which only the labels tell: what this
way of choosing could reach with a perfect estimate of errors. The number of frames is interpolated
between the sizes, linear in the logarithms.

Why so little? Test frames are drawn from the pool, and random frames of the pool are distributed as
the test frames are: nothing is missing that a choice could find. For ethanol, one trajectory at one
temperature, any frame lowers the posterior of the Gaussian process about as much (*all frames
alike* saves nothing), and even *true errors known* saves an eighth of the frames, half of the bar;
the largest errors fall more (root mean square). In the pool of 3BPA at three temperatures a third
of the frames are from 1200 K and random choice finds them, too; there the posterior alone does best
(13 %); estimated and even true errors do not help, presumably because they draw the choice to the
hottest frames, at the price of the others (not examined further). Selection is for pools that hold
what a model does not know yet and random choice would rarely hit: rare conformers, frames of the
model's own dynamics.
"""


if __name__ == "__main__":
    main()
