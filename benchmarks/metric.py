"""Measure what learned weights change in the errors, for each kernel and feature function.

Models with equal and with learned weights are trained on the same frames and tested on the same
others. Writes ``docs/benchmarks/metric.md``.

    python benchmarks/metric.py
    python benchmarks/metric.py --molecules ethanol --sizes 60 100 --seeds 0 1 --missing
    python benchmarks/metric.py --sizes 60 --seeds 0 --functions inverse inverse-sqrt log
    python benchmarks/metric.py --criterion leave-one-out --output /tmp/leave-one-out.md
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import Figures, Page, arguments, number, table, verdict

import kraft
from kraft.analysis.errors import evaluate
from kraft.data.geometry import duplicate_groups
from kraft.descriptors.feature_functions import feature_function
from kraft.models.metric import CRITERIA, MetricDecision, MetricOptions

KCAL = kraft.Units("kcal/mol")
KERNELS = ("matern52", "matern72", "gaussian", "auto")
FUNCTIONS = ("inverse", "inverse-sqrt", "log")
WORSE = 1.01
"""An error beyond this factor of the other is worse."""


@dataclass(frozen=True)
class Molecule:
    """Where the frames are, and how long learning may take on two cores."""

    label: str
    train: str
    test: str | None
    sizes: tuple[int, ...]
    seconds: float


MOLECULES = {
    "ethanol": Molecule(
        "ethanol, CCSD(T)", "data/ethanol_ccsd_t_train.npz", None, (60, 100, 200, 500), 120.0
    ),
    "malonaldehyde": Molecule(
        "malonaldehyde, CCSD(T)",
        "data/malonaldehyde_ccsd_t_train.npz",
        None,
        (60, 100, 200, 500),
        120.0,
    ),
    "aspirin": Molecule(
        "aspirin, CCSD",
        "data/aspirin_ccsd_train.npz",
        "data/aspirin_ccsd_test.npz",
        (60, 100, 200, 500),
        600.0,
    ),
    "paracetamol": Molecule(
        "paracetamol, PBE+TS", "data/md17_paracetamol_train1000.npz", None, (100, 200), 600.0
    ),
    "toluene": Molecule(
        "toluene, PBE+TS", "data/md17_toluene_recovered.npz", None, (100, 200), 600.0
    ),
    "uracil": Molecule("uracil, PBE+TS", "data/md17_uracil_recovered.npz", None, (100, 200), 600.0),
    "3bpa": Molecule("3BPA, 300 to 1200 K", "data/3bpa_mixedT.npz", None, (100, 200), 600.0),
}
N_TEST = 300


def main() -> None:
    parser = arguments(__doc__, "metric")
    parser.add_argument("--molecules", nargs="+", choices=MOLECULES, default=list(MOLECULES))
    parser.add_argument("--sizes", type=int, nargs="+", help="training frames, as a rule by case")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the splits")
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=list(KERNELS))
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=["inverse"])
    parser.add_argument("--criterion", choices=CRITERIA, default=MetricOptions().criterion)
    parser.add_argument("--max-labels", type=int, default=MetricOptions().max_labels)
    parser.add_argument("--prior-deviation", type=float, default=MetricOptions().prior_deviation)
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    learning = MetricOptions(
        criterion=options.criterion,
        max_labels=options.max_labels,
        prior_deviation=options.prior_deviation,
    )
    page = Page(options.output, quick=options.quick, threads=options.threads)
    if options.quick:
        quick = MetricOptions(max_steps=3)
        page.add("quick", measure("ethanol", 12, 0, "matern52", "inverse", quick, options.data))
        page.write(render)
        return
    for name, size, seed, kernel, function in [] if options.render else _cases(options):
        key = f"{name}, {size} frames, seed {seed}, {kernel}, {function}"
        if options.missing and page.has(key):
            continue
        page.add(key, measure(name, size, seed, kernel, function, learning, options.data))
        page.write(render)
    page.write(render)


def _cases(options: Namespace) -> Iterator[tuple[str, int, int, str, str]]:
    for name in options.molecules:
        sizes = options.sizes or MOLECULES[name].sizes
        for size, seed in product(sizes, options.seeds):
            for function, kernel in product(options.functions, options.kernels):
                yield name, size, seed, kernel, function


def measure(
    name: str,
    n_train: int,
    seed: int,
    kernel: str,
    function: str,
    learning: MetricOptions,
    data: Path,
) -> Figures:
    """Train with equal and with learned weights, and test both."""
    molecule = MOLECULES[name]
    training, test = _frames(molecule, n_train, seed, data)
    options: dict[str, Any] = {"kernel": kernel, "feature_function": function, "seed": seed}
    start = time.perf_counter()
    equal, plain = kraft.train(training, feature_weights=None, **options)
    seconds = {"equal": time.perf_counter() - start}
    options["permutations"] = equal.permutations
    start = time.perf_counter()
    learned, result = kraft.train(
        training, feature_weights="learned", metric_options=learning, **options
    )
    seconds["learned"] = time.perf_counter() - start
    assert result.metric is not None
    if not result.metric.used:  # tested nevertheless: was it right to drop them?
        weights = result.metric.metric.feature_weights
        learned, result_of_dropped = kraft.train(training, feature_weights=weights, **options)
        kernel_of_learned = result_of_dropped.choice.kernel
    else:
        kernel_of_learned = result.choice.kernel
    return {
        "molecule": name,
        "n_train": n_train,
        "seed": seed,
        "n_test": len(test),
        "kernel": kernel,
        "function": function,
        "equal": {**_errors(equal, test), "kernel": plain.choice.kernel},
        "learned": {**_errors(learned, test), "kernel": kernel_of_learned},
        "criterion": learning.criterion,
        "seconds": seconds,
        **_learning(result.metric),
    }


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
        "spread": metric.spread,
        "compared": [
            None if trial is None else [trial.force_mae, trial.energy_mae]
            for trial in (decision.equal, decision.learned)
        ],
        "weights": metric.feature_weights.tolist(),
    }


def _frames(
    molecule: Molecule, n_train: int, seed: int, data: Path
) -> tuple[kraft.Dataset, kraft.Dataset]:
    """Return training and test frames without copies; of one file, these are disjoint."""
    dataset = kraft.read(data / molecule.train)
    different = np.flatnonzero(duplicate_groups(dataset) == np.arange(len(dataset)))
    order = np.random.default_rng([seed, 3]).permutation(different)
    training = dataset.subset(order[:n_train])
    if molecule.test is None:
        return training, dataset.subset(order[n_train : n_train + N_TEST])
    other = kraft.read(data / molecule.test)
    return training, other.subset(np.arange(min(len(other), N_TEST)))


def _errors(model: kraft.ForceField, test: kraft.Dataset) -> Figures:
    errors = evaluate(model, test).in_units(KCAL)
    names = ("force_mae", "force_rmse", "energy_mae", "energy_rmse")
    return {name: getattr(errors, name) for name in names}


def render(rows: dict[str, Figures]) -> str:
    """Return the page: means over the splits, then every split."""
    parts = ["# Learned weights of features", "", "Made by `benchmarks/metric.py`.", ""]
    parts += ["## Means over the splits", "", _means(rows), NOTES]
    parts += ["## All splits", "", _all_splits(rows)]
    return "\n".join(parts)


def _means(rows: dict[str, Figures]) -> str:
    groups: dict[tuple[str, int, str, str], list[Figures]] = {}
    for row in rows.values():
        case = (row["molecule"], row["n_train"], row["kernel"], row["function"])
        groups.setdefault(case, []).append(row)
    lines = []
    for (name, n_train, kernel, function), found in groups.items():
        formula = feature_function(function).formula
        cells = [MOLECULES[name].label, n_train, kernel, formula, len(found)]
        for key in ("force_mae", "energy_mae"):
            equal, learned = (
                float(np.mean([row[kind][key] for row in found])) for kind in ("equal", "learned")
            )
            cells += [number(equal), number(learned), f"{100 * (1 - learned / equal):+.0f} %"]
        worst = max(row["learned"]["force_mae"] / row["equal"]["force_mae"] for row in found)
        slowest = max(row["learning_seconds"] for row in found)
        limit = MOLECULES[name].seconds
        cells += [verdict(worst <= WORSE), f"{slowest:.0f} ({verdict(slowest <= limit)})"]
        lines.append(cells)
    header = ("data", "frames", "kernel", "features", "splits", "equal", "learned", "lower by")
    header += ("energy, equal", "learned", "lower by", "forces never worse", "s to learn, at most")
    return table(header, lines)


def _all_splits(rows: dict[str, Figures]) -> str:
    lines = []
    for key, row in rows.items():
        cells: list[object] = [key, row["equal"]["kernel"], row["learned"]["kernel"]]
        for name in ("force_mae", "energy_mae"):
            cells += [number(row[kind][name]) for kind in ("equal", "learned")]
        cells += ["yes" if row["used"] else "no", f"{row['n_weights']}", f"{row['spread']:.2f}"]
        cells += [f"{row['n_learned_from']}", f"{row['n_steps']} ({row['n_evaluations']})"]
        cells += [f"{row['learning_seconds']:.0f}"]
        lines.append(cells)
    header = ("row", "kernel, equal", "learned", "forces, equal", "learned", "energy, equal")
    header += ("learned", "used", "weights", "spread", "learned from", "steps (evaluations)", "s")
    return table(header, lines)


NOTES = f"""\
Force MAE in kcal/mol/Å and energy MAE in kcal/mol on up to {N_TEST} frames that no model has seen;
*lower by* compares learned with equal weights. Both models have the same training frames and
permutations, and their kernel (where it is `auto`), length scale and regularization are chosen by
the same search, without validation frames. *Used* says whether the learned weights were taken: they
are not unless they lower the error in that search; they are tested all the same. *Spread* is the
standard deviation of the logarithms of the weights. *Learned from* is the number of training frames
in the subset that the weights were learned from.
"""


if __name__ == "__main__":
    main()
