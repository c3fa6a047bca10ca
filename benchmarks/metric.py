"""Measure what a learned metric changes in the errors, for each kernel and feature function.

Models with equal weights, with learned weights alone, and with learned weights and mixing are
trained on the same frames and tested on the same others. Writes ``docs/benchmarks/metric.md``.

    python benchmarks/metric.py
    python benchmarks/metric.py --molecules ethanol --sizes 60 100 --seeds 0 1 --missing
    python benchmarks/metric.py --sizes 60 --seeds 0 --functions inverse inverse-sqrt log
    python benchmarks/metric.py --molecules ethanol --sizes 60 --kernels matern52 gaussian
    python benchmarks/metric.py --criterion leave-one-out --output /tmp/leave-one-out.md
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import torch
from reporting import Figures, Page, arguments, number, table, verdict
from rows import SkippedRowError, measure_rows, page_file

import kraft
from kraft.analysis.errors import evaluate
from kraft.data.geometry import duplicate_groups
from kraft.descriptors.feature_functions import feature_function
from kraft.models.metric import CRITERIA, MetricDecision, MetricOptions
from kraft.models.metric.learning import STAGE

KCAL = kraft.Units("kcal/mol")
KERNELS = ("auto", "matern52", "matern72", "gaussian")
FUNCTIONS = ("inverse", "inverse-sqrt", "log")
DEFAULT = MetricOptions()
SETTINGS = {"criterion": "{}", "max_labels": "{} labels", "prior_deviation": "prior {}"}
"""Options of the learning that can be given, and how a row's name tells that one was."""

WAYS = {"equal": "equal weights", "weights": "weights alone", "mixing": "weights and mixing"}
WORSE = 1.01
"""An error beyond this factor of that with equal weights is worse."""

N_TEST = 300
SIZES = (60, 100, 200, 500)


@dataclass(frozen=True)
class Molecule:
    """Where the frames are, and how many processor seconds learning may take."""

    label: str
    train: str
    test: str | None
    sizes: tuple[int, ...]
    seconds: float = 600.0
    energies: bool = True
    """Whether its energies are the reference's, so that errors of energies mean something."""


MOLECULES = {
    "ethanol": Molecule("ethanol, CCSD(T)", "data/ethanol_ccsd_t_train.npz", None, SIZES, 120.0),
    "malonaldehyde": Molecule(
        "malonaldehyde, CCSD(T)", "data/malonaldehyde_ccsd_t_train.npz", None, SIZES, 120.0
    ),
    "uracil": Molecule(
        "uracil, PBE+TS", "data/md17_uracil_recovered.npz", None, (60, 100, 200), energies=False
    ),
    "toluene": Molecule(
        "toluene, PBE+TS", "data/md17_toluene_recovered.npz", None, (60, 100, 200), energies=False
    ),
    "aspirin": Molecule(
        "aspirin, CCSD",
        "data/aspirin_ccsd_train.npz",
        "data/aspirin_ccsd_test.npz",
        SIZES,
    ),
    "paracetamol": Molecule(
        "paracetamol, PBE+TS", "data/md17_paracetamol_train1000.npz", None, (100, 200)
    ),
    "3bpa": Molecule("3BPA, 300 to 1200 K", "data/3bpa_mixedT.npz", None, (100, 200)),
}


@dataclass(frozen=True)
class Case:
    """A row: which frames, and how they are learned from."""

    molecule: str
    n_train: int
    seed: int
    kernel: str
    function: str
    learning: MetricOptions

    @property
    def settings(self) -> str:
        """Return the options of the learning that are not the default, each after a comma."""
        given = {name: getattr(self.learning, name) for name in SETTINGS}
        changed = [name for name in SETTINGS if given[name] != getattr(DEFAULT, name)]
        return "".join(", " + SETTINGS[name].format(given[name]) for name in changed)

    @property
    def name(self) -> str:
        """Return the row's name."""
        frames = f"{self.molecule}, {self.n_train} frames, seed {self.seed}"
        return f"{frames}, {self.kernel}, {self.function}{self.settings}"


def main() -> None:
    parser = arguments(__doc__, "metric")
    parser.add_argument("--molecules", nargs="+", choices=MOLECULES, default=list(MOLECULES))
    parser.add_argument("--sizes", type=int, nargs="+", help="training frames, as a rule by case")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the splits")
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=["auto"])
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=["inverse"])
    criteria = [name for name in CRITERIA if name != "validation"]  # there are no such frames
    parser.add_argument("--criterion", choices=criteria, default=DEFAULT.criterion)
    parser.add_argument("--max-labels", type=int, default=DEFAULT.max_labels)
    parser.add_argument("--prior-deviation", type=float, default=DEFAULT.prior_deviation)
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = {case.name: case for case in _cases(options)}

    def measure_case(name: str, _: Page) -> Figures:
        return measure(cases[name], options.data)

    with page_file(options) as options.output:
        measure_rows(options, cases, measure_case, render)


def _cases(options: Namespace) -> Iterable[Case]:
    learning = MetricOptions(**{name: getattr(options, name) for name in SETTINGS})
    if options.quick:
        learning = replace(learning, max_steps=3)
        return [Case("ethanol", 12, 0, "matern52", "inverse", learning)]
    return [
        Case(name, size, seed, kernel, function, learning)
        for name in options.molecules
        for size in options.sizes or MOLECULES[name].sizes
        for seed, function, kernel in product(options.seeds, options.functions, options.kernels)
    ]


def measure(case: Case, data: Path) -> Figures:
    """Train each way on the same frames, and test all models on the same others."""
    training, test = _frames(case, data)
    options: dict[str, Any] = {
        "kernel": case.kernel,
        "feature_function": case.function,
        "seed": case.seed,
    }
    started = time.process_time()
    equal, result = kraft.train(training, feature_weights=None, **options)
    seconds = time.process_time() - started
    ways = {"equal": _way(equal, test, result.choice.kernel, seconds)}
    options["permutations"] = equal.permutations
    for way, deviation in (("weights", 0.0), ("mixing", case.learning.mixing_deviation)):
        learning = replace(case.learning, mixing_deviation=deviation)
        ways[way] = _learned(training, test, learning, options)
    return {
        "molecule": case.molecule,
        "n_train": case.n_train,
        "seed": case.seed,
        "n_test": len(test),
        "kernel": case.kernel,
        "function": case.function,
        "settings": case.settings,
        **ways,
    }


def _learned(
    training: kraft.Dataset, test: kraft.Dataset, learning: MetricOptions, options: dict[str, Any]
) -> Figures:
    """Train with a learned metric and test it, even where the training has dropped it."""
    clock = _LearningClock()
    started = time.process_time()
    model, result = kraft.train(
        training, feature_weights="learned", metric_options=learning, progress=clock, **options
    )
    seconds = time.process_time() - started
    decision = result.metric
    assert decision is not None
    if not decision.used:
        model, result = kraft.train(
            training,
            feature_weights=decision.metric.feature_weights,
            feature_mixing=decision.metric.feature_mixing,
            **options,
        )
    errors = _way(model, test, result.choice.kernel, seconds)
    return {**errors, "learning_processor_seconds": clock.seconds, **_learning(decision)}


class _LearningClock:
    """Progress that counts the processor seconds in which a metric is learned."""

    def __init__(self) -> None:
        self._started: float | None = None
        self.seconds = 0.0

    def __call__(self, stage: str, _done: int, _total: int, /) -> None:
        if stage == STAGE:
            now = time.process_time()
            self._started = now if self._started is None else self._started
            self.seconds = now - self._started


def _way(
    model: kraft.ForceField, test: kraft.Dataset, kernel: str, processor_seconds: float
) -> Figures:
    """Return what every way is judged by; ``processor_seconds`` are those of its training."""
    errors = evaluate(model, test).in_units(KCAL)
    names = ("force_mae", "force_rmse", "energy_mae", "energy_rmse")
    figures = {name: getattr(errors, name) for name in names}
    return {**figures, "kernel": kernel, "processor_seconds": processor_seconds}


def _learning(decision: MetricDecision) -> Figures:
    """Return what the learning of a metric reports."""
    metric = decision.metric
    return {
        "used": decision.used,
        "learning_seconds": metric.seconds,
        "n_learned_from": metric.n_train,
        "n_steps": metric.n_steps,
        "n_evaluations": metric.n_evaluations,
        "n_weights": int(metric.orbits.max()) + 1,
        "n_mixing": len(metric.steps[-1].mixing),
        "spread": metric.spread,
        "compared": [
            None if trial is None else [trial.force_mae, trial.energy_mae]
            for trial in (decision.equal, decision.learned)
        ],
    }


def _frames(case: Case, data: Path) -> tuple[kraft.Dataset, kraft.Dataset]:
    """Return training and test frames without copies; of one file, these are disjoint."""
    molecule = MOLECULES[case.molecule]
    for file in (molecule.train, molecule.test):
        if file is not None and not (data / file).exists():
            raise SkippedRowError(f"there is no {data / file}: set KRAFT_REFERENCE_DATA or --data")
    dataset = kraft.read(data / molecule.train)
    different = np.flatnonzero(duplicate_groups(dataset) == np.arange(len(dataset)))
    order = np.random.default_rng([case.seed, 3]).permutation(different)
    training = dataset.subset(order[: case.n_train])
    if molecule.test is None:
        return training, dataset.subset(order[case.n_train : case.n_train + N_TEST])
    other = kraft.read(data / molecule.test)
    return training, other.subset(np.arange(min(len(other), N_TEST)))


def render(rows: dict[str, Figures]) -> str:
    """Return the page: bars, errors, then what was chosen and how long it took."""
    found = sorted(rows.values(), key=_place)
    parts = ["# A learned metric", "", "Made by `benchmarks/metric.py`.", ""]
    if not found:
        return "\n".join(parts)
    parts += ["## Bars", "", _bars(found)]
    parts += ["## Errors", "", _errors(found), _notes(found)]
    parts += ["## What was chosen, and seconds to learn", "", _choices(found), CHOICE_NOTES]
    return "\n".join(parts)


def _place(row: Figures) -> tuple[object, ...]:
    """Return where a row stands: by molecule and frames, what is compared side by side."""
    molecule, function = list(MOLECULES).index(row["molecule"]), FUNCTIONS.index(row["function"])
    kernel = KERNELS.index(row["kernel"])
    return molecule, row["n_train"], row["settings"], row["seed"], function, kernel


def _bars(rows: list[Figures]) -> str:
    def taken(row: Figures) -> float:
        return _ratio(row, "mixing", "force_mae") if row["mixing"]["used"] else 1.0

    def seconds(row: Figures) -> float:
        return float(row["mixing"]["learning_processor_seconds"])

    worst = max(rows, key=taken)
    what = f"largest ratio of force MAE, as trained to equal weights ({_title(worst)})"
    lines = [[what, f"{taken(worst):.3f}", f"{WORSE}", verdict(taken(worst) <= WORSE)]]
    for limit in sorted({MOLECULES[row["molecule"]].seconds for row in rows}):
        alike = [row for row in rows if MOLECULES[row["molecule"]].seconds == limit]
        slowest = max(alike, key=seconds)
        what = f"processor seconds to learn, at most ({_title(slowest)})"
        cells = [what, number(seconds(slowest), 2), f"{limit:.0f}"]
        lines.append([*cells, verdict(seconds(slowest) <= limit)])
    return table(("what", "measured", "bar", ""), lines)


def _errors(rows: list[Figures]) -> str:
    lines = []
    for row in rows:
        cells = _case_cells(row)
        for key in ("force_mae", "energy_mae"):
            shown = key == "force_mae" or MOLECULES[row["molecule"]].energies
            cells += [_error(row, way, key) if shown else "" for way in WAYS]
        lines.append(cells)
    default = ("auto", "inverse", "")
    usual = [row for row in rows if (row["kernel"], row["function"], row["settings"]) == default]
    if usual:
        cells = [f"**mean of {len(usual)} with `auto` and 1/r**", "", "", "", ""]
        for key in ("force_mae", "energy_mae"):
            judged = [r for r in usual if key == "force_mae" or MOLECULES[r["molecule"]].energies]
            cells += ["", *(_mean_change(judged, way, key) for way in ("weights", "mixing"))]
        lines.append(cells)
    header = ["data", "frames", "split", "kernel", "features"]
    header += [f"forces, {WAYS['equal']}", WAYS["weights"], WAYS["mixing"]]
    header += [f"energies, {WAYS['equal']}", WAYS["weights"], WAYS["mixing"]]
    return table(header, lines)


def _choices(rows: list[Figures]) -> str:
    def both(row: Figures, show: Callable[[Figures], str]) -> str:
        first, second = (show(row[way]) for way in ("weights", "mixing"))
        return first if first == second else f"{first} / {second}"

    lines = []
    for row in rows:
        cells = _case_cells(row)
        cells.append(" / ".join(row[way]["kernel"] for way in WAYS))
        cells.append(both(row, lambda way: f"{way['n_learned_from']}"))
        cells.append(both(row, lambda way: "yes" if way["used"] else "no"))
        cells.append(f"{row['mixing']['n_weights']} + {row['mixing']['n_mixing']}")
        cells.append(both(row, lambda way: f"{way['spread']:.2f}"))
        cells.append(both(row, lambda way: f"{way['n_steps']} ({way['n_evaluations']})"))
        cells.append(both(row, lambda way: number(way["learning_processor_seconds"], 2)))
        cells.append(both(row, lambda way: number(way["learning_seconds"], 2)))
        cells.append(" / ".join(f"{row[way]['processor_seconds']:.0f}" for way in WAYS))
        lines.append(cells)
    header = ["data", "frames", "split", "kernel", "features", "kernel chosen", "learned from"]
    header += ["used", "weights + mixing", "spread", "steps (evaluations)"]
    header += ["processor s to learn", "s to learn", "processor s to train"]
    return table(header, lines)


def _case_cells(row: Figures) -> list[object]:
    formula = feature_function(row["function"]).formula
    data = MOLECULES[row["molecule"]].label + row["settings"]
    return [data, row["n_train"], row["seed"], row["kernel"], formula]


def _title(row: Figures) -> str:
    data, n_train, seed, kernel, formula = _case_cells(row)
    return f"{data}, {n_train} frames, split {seed}, `{kernel}`, {formula}"


def _error(row: Figures, way: str, key: str) -> str:
    """Return an error and, in brackets, by how much it differs from that with equal weights."""
    shown = number(row[way][key])
    return shown if way == "equal" else f"{shown} ({_change(_ratio(row, way, key))})"


def _mean_change(rows: list[Figures], way: str, key: str) -> str:
    ratios = [_ratio(row, way, key) for row in rows]
    return f"**{_change(geometric_mean(ratios))}**" if ratios else ""


def _ratio(row: Figures, way: str, key: str) -> float:
    return float(row[way][key] / row["equal"][key])


def _change(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.0f} %"


def _notes(rows: list[Figures]) -> str:
    tested = " or ".join(sorted({str(row["n_test"]) for row in rows}))
    return f"""\
Force MAE in kcal/mol/Å and energy MAE in kcal/mol on {tested} frames that no
model has seen; in brackets, by how much they differ from those with equal weights. All three models
have the same training frames and permutations, and their kernel (where it is `auto`), length scale
and regularization are chosen by the same search, without validation frames. A learned metric is
tested even where the training has dropped it. Means of changes are geometric. Energies of recovered
MD17 data are not reference energies and are left out.
"""


CHOICE_NOTES = """\
Kernels are those with equal weights / weights alone / weights and mixing, and so are processor
seconds to train, which are for everything: symmetries, the search with equal weights and, where a
metric is learned, learning, the search with it, and the solution. Other cells with one stroke are
weights alone / weights and mixing; one figure stands for both. *Used*: whether the training took
the metric; it does unless the errors in its search speak against it ([how](../metric.md)). *Learned
from*: training frames in the subset that the metric was learned from. *Weights + mixing*: how many
numbers were learned. *Spread*: standard deviation of the logarithms of the weights. Other programs
ran on the machine at the same time, so that seconds by the clock tell little.
"""


if __name__ == "__main__":
    main()
