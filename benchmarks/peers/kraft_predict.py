"""Time kraft's predictions with an sgdml model, and the machine's matrix products beside them.

Runs with kraft's interpreter, started and measured like the peers. Request
    ``model``: sgdml ``.npz``; ``positions``: ``.npz`` with ``positions`` (B, N, 3) in Å;
    ``batch_sizes`` (default [1, 64]); ``min_seconds`` (default 1.0) measured per figure;
    ``predictions`` (optional): a path to write to; ``peak`` (default false): measure the peak.

Answer
    ``microseconds_per_geometry`` and ``medians``: for every batch size, of
    ``ForceField.predict``, checks and conversions included; ``flops_per_geometry``: operations of
    the matrix products that are carried out; ``nominal_flops``: ``8 S M D``, what they would be
    without use of the features' symmetry; ``peak_flops``: the machine's rate in a product of two
    large float64 matrices, the best before and after; ``threads``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from exchange import best_time, serve

from kraft.data.units import Units
from kraft.interfaces.sgdml import read_sgdml_model

PEAK_SIZE = 2048


def main(request: dict[str, Any]) -> dict[str, Any]:
    model = read_sgdml_model(request["model"])
    with np.load(request["positions"]) as archive:
        positions = archive["positions"]
    min_seconds = float(request.get("min_seconds", 1.0))
    peak = peak_rate() if request.get("peak") else None
    times, medians = {}, {}
    for size in request.get("batch_sizes", [1, 64]):
        batch = positions[0] if size == 1 else positions[:size]
        found = best_time(lambda batch=batch: model.predict(batch), min_seconds=min_seconds)
        times[str(size)] = 1e6 * found["best"] / size
        medians[str(size)] = 1e6 * found["median"] / size
    if peak is not None:
        peak = max(peak, peak_rate())
    if request.get("predictions"):
        units = Units("kcal/mol")
        energies, forces = model.predict(positions)
        np.savez(
            request["predictions"],
            energies=energies / units.energy_factor,
            forces=forces / units.force_factor,
        )
    parameters = model.parameters
    sizes = (parameters.n_permutations, *parameters.training_descriptors.shape)
    return {
        "microseconds_per_geometry": times,
        "medians": medians,
        "flops_per_geometry": model.evaluator.flops_per_geometry,
        "nominal_flops": 8 * int(np.prod(sizes)),
        "peak_flops": peak,
        "threads": torch.get_num_threads(),
    }


def peak_rate() -> float:
    """Floating-point operations per second of a large product in float64."""
    left, right = torch.rand(2, PEAK_SIZE, PEAK_SIZE, dtype=torch.float64)
    out = torch.empty_like(left)
    seconds = best_time(lambda: torch.mm(left, right, out=out), min_seconds=0.7)["best"]
    return 2.0 * PEAK_SIZE**3 / seconds


if __name__ == "__main__":
    serve(main)
