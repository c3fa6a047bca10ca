"""Train and test kraft as a user would, in a fresh process; runs with kraft's interpreter.

Request
    ``dataset``; ``train_indices``; ``valid_indices`` (default none); ``test_dataset`` (default:
    ``dataset``) and ``test_indices`` (default: all frames, only with a ``test_dataset``);
    ``kernel``, ``length_scale``, ``regularization``: chosen by kraft when missing;
    ``use_symmetries`` (default true); ``feature_weights`` (null: equal ones); ``options``: fields
    of ``SolverOptions``; ``device``;
    ``follow_test`` (default false): the errors in the history are those on test geometries, which
    nothing depends on (only with given hyper-parameters and ``stop="residual"``).

Answer
    ``n`` (force labels), ``size`` (labels after the rigid motions are projected out), ``choice``,
    ``n_permutations``, ``plan``, ``outcome``, ``history`` (rows of iteration, seconds, relative
    residual, force MAE in kcal/mol/Å or None, rank), ``seconds_an_iteration`` (median),
    ``preconditioner`` (see :class:`BuildWatch`), ``test``, ``notices`` and ``seconds``.
"""

from __future__ import annotations

import os

# As the command line does, before the libraries read them (`kraft/cli/entry.py`).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from exchange import serve

import kraft
from kraft.models.solver_options import SolverOptions
from kraft.solvers.iterative import PreparedIterative

KCAL = kraft.Units("kcal/mol").force_factor
MAX_ROWS = 400
"""Rows of the history that are kept."""


class BuildWatch:
    """Measure what the building of every preconditioner takes, from outside.

    ``builds`` has for each: ``rank``, ``size``, ``block_bytes`` (of the diagonal blocks of whole
    geometries, if it has them), ``kept_bytes`` (what the preconditioner says it keeps),
    ``grown_bytes`` (growth of the resident memory), ``peak_bytes`` (growth of its peak during the
    building, from the kernel's own high-water mark) and ``seconds``.
    """

    def __init__(self) -> None:
        self.builds: list[dict[str, Any]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the context lasts."""
        original = PreparedIterative.build

        def build(prepared: PreparedIterative, *args: Any, **keywords: Any) -> None:
            before = _memory("VmRSS", reset=True)
            start = time.perf_counter()
            original(prepared, *args, **keywords)
            seconds = time.perf_counter() - start
            peak, after = _memory("VmHWM"), _memory("VmRSS")
            built = prepared.preconditioner
            self.builds.append(
                {
                    "name": built.name,
                    "description": built.description,
                    "rank": built.rank,
                    "size": prepared.operator.size,
                    "block_bytes": _block_bytes(prepared),
                    "kept_bytes": built.memory,
                    "grown_bytes": after - before,
                    "peak_bytes": peak - before,
                    "product_bytes": prepared.product.memory,
                    "seconds": seconds,
                }
            )

        PreparedIterative.build = build  # type: ignore[method-assign]
        try:
            yield
        finally:
            PreparedIterative.build = original  # type: ignore[method-assign]


def main(request: dict[str, Any]) -> dict[str, Any]:
    dataset = kraft.read(request["dataset"])
    training = dataset.subset(np.array(request["train_indices"]))
    tested = _tested(request, dataset)
    validation = None
    if request.get("follow_test"):
        validation = tested
    elif request.get("valid_indices"):
        validation = dataset.subset(np.array(request["valid_indices"]))
    watch = BuildWatch()
    start = time.perf_counter()
    with watch.watching():
        model, result = kraft.train(
            training,
            validation,
            kernel=request.get("kernel", "auto"),
            length_scale=request.get("length_scale"),
            regularization=request.get("regularization"),
            permutations="auto" if request.get("use_symmetries", True) else None,
            feature_weights=request.get("feature_weights", "auto"),
            solver_options=SolverOptions(**request.get("options", {})),
            device=request.get("device", "cpu"),
        )
    trained = time.perf_counter()
    test = None if tested is None else _errors(model, tested)
    seconds = {**asdict(result.timings), "total": trained - start}
    if request.get("model"):
        model.save(Path(request["model"]))
    outcome = result.outcome
    kept = ("solver", "relative_residual", "jitter", "status", "iterations", "restarts")
    kept += ("preconditioner", "rank", "advice", "memory")
    return {
        "n": int(training.forces.size),
        "size": int(outcome.coefficients.shape[0]),
        "choice": {
            "kernel": result.choice.kernel,
            "length_scale": result.choice.length_scale,
            "regularization": result.choice.regularization,
        },
        "n_permutations": len(result.permutations),
        "plan": asdict(result.plan),
        "outcome": {name: getattr(outcome, name) for name in kept},
        "history": _thinned(_rows(outcome.history)),
        "seconds_an_iteration": _seconds_an_iteration(outcome.history),
        "builds": watch.builds,
        "test": test,
        "notices": list(result.notices),
        "seconds": {**seconds, "test": time.perf_counter() - trained},
    }


def _block_bytes(prepared: PreparedIterative) -> int:
    """Return the size of the diagonal blocks of whole geometries."""
    method = prepared.solver.preconditioner
    if getattr(method, "remainder", "shift") != "blocks":
        return 0
    geometries = int(getattr(method, "block_geometries", 1))
    return 8 * prepared.operator.size * prepared.operator.block_size * geometries


def _tested(request: dict[str, Any], dataset: kraft.Dataset) -> kraft.Dataset | None:
    indices = request.get("test_indices")
    if request.get("test_dataset"):
        tested = kraft.read(request["test_dataset"])
        return tested if indices is None else tested.subset(np.array(indices))
    return dataset.subset(np.array(indices)) if indices else None


def _errors(model: kraft.ForceField, tested: kraft.Dataset) -> dict[str, Any]:
    predicted = model.predict(tested.positions)
    error = (predicted.forces - tested.forces) / KCAL
    energy_mae = None
    if tested.energies is not None:
        energy_mae = float(np.abs(predicted.energies - tested.energies).mean() / KCAL)
    return {
        "force_mae": float(np.abs(error).mean()),
        "force_rmse": float(np.sqrt((error**2).mean())),
        "energy_mae": energy_mae,
        "n": len(tested),
    }


def _rows(history: Any) -> list[list[float | None]]:
    return [
        [
            point.iteration,
            point.seconds,
            point.relative_residual,
            None if point.valid_force_mae is None else point.valid_force_mae / KCAL,
            point.rank,
        ]
        for point in history
    ]


def _thinned(rows: list[list[float | None]]) -> list[list[float | None]]:
    """Return at most ``MAX_ROWS`` rows, those with an error and the last among them."""
    if len(rows) <= MAX_ROWS:
        return rows
    chosen = set(np.unique(np.geomspace(1, len(rows), MAX_ROWS).astype(int)) - 1)
    return [row for index, row in enumerate(rows) if index in chosen or row[3] is not None]


def _seconds_an_iteration(history: Any) -> float | None:
    rates = [
        (after.seconds - before.seconds) / (after.iteration - before.iteration)
        for before, after in pairwise(history)
        if after.iteration > before.iteration
    ]
    return float(median(rates)) if rates else None


def _memory(field: str, *, reset: bool = False) -> int:
    """Return a field of ``/proc/self/status`` in bytes; ``reset`` lowers the high-water mark."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    return 0


if __name__ == "__main__":
    serve(main)
