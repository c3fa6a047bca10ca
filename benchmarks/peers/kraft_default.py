"""Train kraft with its defaults and time it; runs with kraft's interpreter, like the peers.

Request
    ``dataset``, ``train_indices``, ``valid_indices``, ``test_indices``: see ``frames.py``;
    ``batch_sizes`` (default [1, 64]); ``min_seconds``.

Answer
    ``test`` (errors in kcal/mol and kcal/mol/Å), ``settings``, ``seconds`` (``training``, with all
    choices), ``microseconds_per_geometry`` of ``ForceField.predict``.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from exchange import best_time, serve
from frames import errors, requested, versions

import kraft

KCAL = kraft.Units("kcal/mol")


def main(request: dict[str, Any]) -> dict[str, Any]:
    dataset = kraft.read(request["dataset"])
    training, validation = (
        dataset.subset(np.asarray(request[name])) for name in ("train_indices", "valid_indices")
    )
    start = time.perf_counter()
    model, result = kraft.train(training, validation)
    seconds = time.perf_counter() - start
    _, _, test = requested(request)
    energies, forces = model.predict(test.positions)
    times = {}
    for size in request.get("batch_sizes", [1, 64]):
        batch = test.positions[0] if size == 1 else test.positions[:size]
        spent = best_time(
            lambda batch=batch: model.predict(batch),
            min_seconds=float(request.get("min_seconds", 1.0)),
        )
        times[str(size)] = 1e6 * spent["best"] / (1 if size == 1 else len(batch))
    choice = result.choice
    return {
        "test": errors(energies / KCAL.energy_factor, forces / KCAL.force_factor, test),
        "settings": {
            "kernel": choice.kernel,
            "length_scale": choice.length_scale,
            "regularization": choice.regularization,
            "n_permutations": len(result.permutations),
        },
        "seconds": {"training": seconds},
        "microseconds_per_geometry": times,
        "versions": versions("kraft", "torch", "numpy"),
    }


if __name__ == "__main__":
    serve(main)
