"""Time sgdml's predictions on both of its paths; runs in sgdml's environment.

Request
    ``model``: sgdml ``.npz``; ``positions``: ``.npz`` with ``positions`` (B, N, 3) in Å;
    ``batch_sizes`` (default [1, 64]); ``processes`` (default 2); ``min_seconds`` (default 1.0)
    measured per figure; ``calculator_steps`` (default 0): steps of velocity Verlet with sgdml's
    ASE calculator, timed from the second on; ``predictions`` (optional): a path to write to;
    ``paths`` (default: all of ``PATHS``): what to time; ``sweep_size`` (default: the batch): how
    many geometries of a batch the sweep and the loop use, for models that take seconds a batch.
    The winner of the sweep is timed with the whole batch.

Answer
    ``microseconds_per_geometry``: for every batch size the best times per geometry of
    ``numpy_default`` (the predictor as constructed), ``numpy_one_process`` (constructed with
    ``max_processes=1``), ``numpy_prepared`` (after ``prepare_parallel``, as sgdml recommends),
    ``torch`` (``use_torch=True``) and ``numpy_best`` (the best of a sweep over workers, chunks
    and bulk mode through private methods, beyond what sgdml finds by itself); ``documented`` is
    the smallest of the first four, what a user of sgdml can have, and ``fastest`` the smallest of
    all. For batches also ``one_by_one``, the faster path called for one geometry at a time, which
    sgdml's batches do not always beat, and ``fastest_or_one_by_one``.
    ``medians``: medians of the same repeats where there is one predictor behind a figure.
    ``settings``: what ``numpy_prepared`` and ``numpy_best`` used.
    ``predictions``: path of the energies and forces of all positions when the request names one.
    ``calculator_microseconds``: per MD step, ``numpy`` and ``torch``.

``prepare_parallel`` keeps its findings in a file inside the sgdml package, keyed without the
number of permutations. That cache is switched off here: every run finds its settings afresh.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from exchange import best_time, serve
from sgdml.predict import GDMLPredict

PATHS = ("default", "one_process", "prepared", "torch", "workers", "alone", "one_by_one")
DOCUMENTED = ("numpy_default", "numpy_one_process", "numpy_prepared", "torch")
CHUNKS = (None, 200, 50, 10, 3)  # training points at once; None: all


def main(request: dict[str, Any]) -> dict[str, Any]:
    GDMLPredict._load_cached_bmark_result = lambda *_: None
    GDMLPredict._save_cached_bmark_result = lambda *_: None
    with np.load(request["model"], allow_pickle=True) as archive:
        model = {key: archive[key] for key in archive.files}
    with np.load(request["positions"]) as archive:
        positions = archive["positions"]
    positions = positions.reshape(len(positions), -1)
    processes = int(request.get("processes", 2))
    min_seconds = float(request.get("min_seconds", 1.0))

    times: dict[str, dict[str, float]] = {}
    medians: dict[str, dict[str, float]] = {}
    settings: dict[str, Any] = {}
    for size in request.get("batch_sizes", [1, 64]):
        if size > len(positions):
            raise ValueError(f"a batch of {size} was asked for but {len(positions)} positions came")
        timing = Timing(model, positions[:size], processes, min_seconds)
        timing.measure(request.get("paths", PATHS), int(request.get("sweep_size", size)))
        times[str(size)], medians[str(size)] = timing.summary(), timing.medians
        settings[str(size)] = timing.settings
    answer: dict[str, Any] = {
        "microseconds_per_geometry": times,
        "medians": medians,
        "settings": settings,
        "torch_threads": torch.get_num_threads(),
    }
    if request.get("predictions"):
        energies, forces = GDMLPredict(model, max_processes=1).predict(positions)
        np.savez(request["predictions"], energies=energies, forces=forces)
        answer["predictions"] = request["predictions"]
    if request.get("calculator_steps"):
        answer["calculator_microseconds"] = calculator_times(request, model, positions[0])
    return answer


class Timing:
    """Time one batch on the paths asked for: best and median microseconds per geometry."""

    def __init__(
        self, model: dict[str, Any], batch: np.ndarray, processes: int, min_seconds: float
    ) -> None:
        self.model, self.batch, self.processes = model, batch, processes
        self.min_seconds = min_seconds
        self.row: dict[str, float] = {}
        self.medians: dict[str, float] = {}
        self.settings: dict[str, Any] = {}

    def measure(self, paths: Sequence[str], sweep_size: int) -> None:
        """Time the paths; the sweep and the loop use so many geometries at most."""
        alone = GDMLPredict(self.model, max_processes=1)
        if {"default", "prepared", "workers", "alone"} & set(paths):
            self._measure_workers(paths, sweep_size)
        if "one_process" in paths:
            self._keep("numpy_one_process", alone)
        predictors = [alone]
        if "torch" in paths:
            try:
                predictors.append(
                    GDMLPredict(self.model, max_processes=self.processes, use_torch=True)
                )
                self._keep("torch", predictors[-1])
            except TypeError as error:  # sgdml 1.0.3 cannot load energy constraints on this path
                self.settings["torch"] = f"failed: {error}"
        if "one_by_one" in paths and len(self.batch) > 1:
            some = self.batch[: min(sweep_size, len(self.batch))]
            self.row["one_by_one"] = min(one_by_one(p, some, self.min_seconds) for p in predictors)

    def _measure_workers(self, paths: Sequence[str], sweep_size: int) -> None:
        predictor = GDMLPredict(self.model, max_processes=self.processes)
        if "default" in paths:
            self._keep("numpy_default", predictor)
        if "prepared" in paths:
            slow = self.row.get("numpy_default", 0.0) * len(self.batch) > 3e5
            predictor.prepare_parallel(n_bulk=len(self.batch), n_reps=1 if slow else 3)
            self.settings["numpy_prepared"] = current_settings(predictor)
            self._keep("numpy_prepared", predictor)
        some = self.batch[: min(sweep_size, len(self.batch))]
        best, winner = np.inf, None
        for count, in_bulk in layouts(paths, self.processes, len(some)):
            for chunk in CHUNKS:
                use_settings(predictor, count, in_bulk, chunk)
                found = timed(predictor, some, self.min_seconds / 5, 1)["best"]
                if found < best:
                    best, winner = found, (count, in_bulk, chunk)
        if winner is not None:
            use_settings(predictor, *winner)
            self.settings["numpy_best"] = current_settings(predictor)
            self._keep("numpy_best", predictor)

    def _keep(self, name: str, predictor: GDMLPredict) -> None:
        found = timed(predictor, self.batch, self.min_seconds)
        self.row[name], self.medians[name] = found["best"], found["median"]

    def summary(self) -> dict[str, float]:
        """Return the figures with what they come to."""
        row = dict(self.row)
        documented = [value for key, value in row.items() if key in DOCUMENTED]
        if documented:
            row["documented"] = min(documented)
        row["fastest"] = min(row[key] for key in row if key != "one_by_one")
        if "one_by_one" in row:
            row["fastest_or_one_by_one"] = min(row["fastest"], row["one_by_one"])
        return row


def timed(
    predictor: GDMLPredict, batch: np.ndarray, seconds: float, repeats: int = 5
) -> dict[str, float]:
    """Time a predictor on a batch: best and median microseconds per geometry."""
    found = best_time(lambda: predictor.predict(batch), min_seconds=seconds, min_repeats=repeats)
    return {key: 1e6 * found[key] / len(batch) for key in ("best", "median")}


def layouts(paths: Sequence[str], processes: int, batch_size: int) -> list[tuple[int, bool]]:
    """Return the worker layouts to try: (number of workers, one geometry per worker)."""
    found = [(0, False)] if "alone" in paths else []
    if "workers" in paths:
        found.append((processes, False))
        if batch_size > 1:
            found += [(processes, True), (1, True)]
    return found


def use_settings(predictor: GDMLPredict, workers: int, in_bulk: bool, chunk: int | None) -> None:
    """Set a predictor's parallel settings."""
    if (predictor.num_workers, predictor.bulk_mp) != (workers, in_bulk):
        predictor._set_bulk_mp(in_bulk)
        predictor._set_num_workers(workers, force_reset=True)
    predictor._set_chunk_size(chunk)


def one_by_one(predictor: GDMLPredict, batch: np.ndarray, min_seconds: float) -> float:
    """Time a loop over the geometries: microseconds per geometry."""
    best = best_time(
        lambda: [predictor.predict(geometry) for geometry in batch], min_seconds=min_seconds
    )["best"]
    return 1e6 * best / len(batch)


def current_settings(predictor: GDMLPredict) -> dict[str, Any]:
    """Return the parallel settings a predictor has now."""
    return {
        "workers": predictor.num_workers,
        "chunk": int(predictor.chunk_size),
        "bulk": bool(predictor.bulk_mp),
    }


def calculator_times(
    request: dict[str, Any], model: dict[str, Any], start: np.ndarray
) -> dict[str, float]:
    """Best time of an MD step with sgdml's ASE calculator on each path, in microseconds."""
    from ase import Atoms, units
    from ase.md.verlet import VelocityVerlet
    from sgdml.intf.ase_calc import SGDMLCalculator

    times = {}
    for path in ("numpy",) if "alphas_E" in model else ("numpy", "torch"):
        atoms = Atoms(model["z"].astype(int), positions=start.reshape(-1, 3))
        atoms.calc = SGDMLCalculator(request["model"], use_torch=path == "torch")
        dynamics = VelocityVerlet(atoms, 0.01 * units.fs)
        dynamics.run(1)
        steps = []
        for _ in range(int(request["calculator_steps"])):
            begin = time.perf_counter()
            dynamics.run(1)
            steps.append(time.perf_counter() - begin)
        times[path] = 1e6 * min(steps)
    return times


if __name__ == "__main__":
    serve(main)
