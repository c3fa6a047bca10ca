"""Time sgdml's predictions on both of its paths; runs in sgdml's environment.

Request
    ``model``: sgdml ``.npz``; ``positions``: ``.npz`` with ``positions`` (B, N, 3) in Å;
    ``batch_sizes`` (default [1, 64]); ``processes`` (default 2); ``min_seconds`` (default 1.0)
    measured per figure; ``calculator_steps`` (default 0): steps of velocity Verlet with sgdml's
    ASE calculator, timed from the second on; ``predictions`` (optional): a path to write to.

Answer
    ``microseconds_per_geometry``: for every batch size the best times per geometry of
    ``numpy_default`` (the predictor as constructed), ``numpy_one_process`` (constructed with
    ``max_processes=1``), ``numpy_prepared`` (after ``prepare_parallel``, as sgdml recommends),
    ``torch`` (``use_torch=True``) and ``numpy_best`` (the best of a sweep over workers, chunks
    and bulk mode through private methods, beyond what sgdml finds by itself); ``documented`` is
    the smallest of the first four, what a user of sgdml can have, and ``fastest`` the smallest of
    all. For batches also ``one_by_one``, the faster path called for one geometry at a time, which
    sgdml's batches do not always beat, and ``fastest_or_one_by_one``.
    ``settings``: what ``numpy_prepared`` and ``numpy_best`` used.
    ``predictions``: path of the energies and forces of all positions when the request names one.
    ``calculator_microseconds``: per MD step, ``numpy`` and ``torch``.

``prepare_parallel`` keeps its findings in a file inside the sgdml package, keyed without the
number of permutations. That cache is switched off here: every run finds its settings afresh.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from exchange import best_time, serve
from sgdml.predict import GDMLPredict

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
    settings: dict[str, Any] = {}
    for size in request.get("batch_sizes", [1, 64]):
        if size > len(positions):
            raise ValueError(f"a batch of {size} was asked for but {len(positions)} positions came")
        row, used = measure(model, positions[:size], processes, min_seconds)
        times[str(size)], settings[str(size)] = row, used
    answer: dict[str, Any] = {
        "microseconds_per_geometry": times,
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


def measure(
    model: dict[str, Any], batch: np.ndarray, processes: int, min_seconds: float
) -> tuple[dict[str, float], dict[str, Any]]:
    """Time one batch size on every path: microseconds per geometry, and the settings found."""

    def timed(predictor: GDMLPredict, repeats: int = 5, seconds: float = min_seconds) -> float:
        best = best_time(
            lambda: predictor.predict(batch), min_seconds=seconds, min_repeats=repeats
        )["best"]
        return 1e6 * best / len(batch)

    predictor = GDMLPredict(model, max_processes=processes)
    alone = GDMLPredict(model, max_processes=1)
    row = {"numpy_default": timed(predictor), "numpy_one_process": timed(alone)}
    slow = row["numpy_default"] * len(batch) > 3e5
    predictor.prepare_parallel(n_bulk=len(batch), n_reps=1 if slow else 3)
    row["numpy_prepared"] = timed(predictor)
    used = {"numpy_prepared": current_settings(predictor)}

    row["numpy_best"] = np.inf
    for count, in_bulk in layouts(processes, len(batch)):
        predictor._set_bulk_mp(in_bulk)
        predictor._set_num_workers(count, force_reset=True)
        for chunk in CHUNKS:
            predictor._set_chunk_size(chunk)
            found = timed(predictor, 1, min_seconds / 5)
            if found < row["numpy_best"]:
                row["numpy_best"] = found
                used["numpy_best"] = current_settings(predictor)
    del predictor

    predictors = [alone]
    try:
        predictors.append(GDMLPredict(model, max_processes=processes, use_torch=True))
        row["torch"] = timed(predictors[-1])
    except TypeError as error:  # sgdml 1.0.3 cannot load energy constraints on this path
        used["torch"] = f"failed: {error}"
    row["documented"] = min(value for key, value in row.items() if key != "numpy_best")
    row["fastest"] = min(row["documented"], row["numpy_best"])
    if len(batch) > 1:
        row["one_by_one"] = min(one_by_one(p, batch, min_seconds) for p in predictors)
        row["fastest_or_one_by_one"] = min(row["fastest"], row["one_by_one"])
    return row, used


def layouts(processes: int, batch_size: int) -> list[tuple[int, bool]]:
    """Return the worker layouts to try: (number of workers, one geometry per worker)."""
    found = [(0, False), (processes, False)]
    if batch_size > 1:
        found += [(processes, True), (1, True)]
    return found


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
