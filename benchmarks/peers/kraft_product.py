"""Time products with the kernel matrix against the peak of the device; kraft's interpreter.

Request
    ``dataset``, ``train_indices``, ``kernel``, ``length_scale``, ``device``, ``max_memory`` (bytes
    of radial factors that are kept; None keeps all), ``columns`` (vectors at once, a list).

Answer
    ``size``, ``n_permutations``, ``factor_bytes``, ``peak_flops`` (of a product of two square
    float64 matrices on the device, in this process), ``flops`` (those of the three matrix products
    for every class of features and action that one vector takes), ``seconds`` by the number of
    vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from exchange import best_time, serve

import kraft
from kraft.kernels.feature_classes import feature_classes
from kraft.linalg.arrays import native
from kraft.models.preparation import permutation_group, training_arrays

MATRIX_SIZES = {"cpu": 2048, "cuda": 8192}


def main(request: dict[str, Any]) -> dict[str, Any]:
    device = request.get("device", "cpu")
    training = kraft.read(request["dataset"]).subset(np.array(request["train_indices"]))
    group, _ = permutation_group(training, "auto", None, 0, lambda *_: None)
    arrays = training_arrays(training, None, group, None, 0.0, device)
    operator, _ = arrays.operator(request["kernel"], request["length_scale"])
    product = operator.product(max_memory=request.get("max_memory"))
    generator = torch.Generator().manual_seed(0)
    seconds = {}
    for columns in request.get("columns", [1, 4]):
        shape = (operator.size,) if columns == 1 else (operator.size, columns)
        vectors = torch.randn(shape, generator=generator, dtype=torch.float64).to(device)
        array = native(vectors)
        seconds[str(columns)] = best_time(lambda v=array: _finished(product(v), device))["best"]
    pairs = len(training) ** 2
    classes = feature_classes(arrays.feature_permutations)
    return {
        "size": operator.size,
        "n_permutations": len(group),
        "factor_bytes": product.memory,
        "peak_flops": _peak(device),
        "flops": 6 * pairs * sum(c.n_actions * (len(c.features) + 1) for c in classes),
        "seconds": seconds,
        "device_name": torch.cuda.get_device_name() if device == "cuda" else "CPU",
    }


def _peak(device: str) -> float:
    """Return the rate of a float64 matrix product in operations a second."""
    n = MATRIX_SIZES[device]
    left = torch.randn((n, n), dtype=torch.float64, device=device)
    if device == "cpu":
        array = left.numpy()
        return 2 * n**3 / best_time(lambda: array @ array)["best"]
    return 2 * n**3 / best_time(lambda: _finished(left @ left, device))["best"]


def _finished(result: object, device: str) -> object:
    if device == "cuda":
        torch.cuda.synchronize()
    return result


if __name__ == "__main__":
    serve(main)
