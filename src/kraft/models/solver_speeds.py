"""How fast this machine does what the solvers consist of, measured in a fraction of a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from kraft.core.typing import IntArray
from kraft.kernels import KernelOperator
from kraft.linalg.arrays import Array, native
from kraft.linalg.panels import LowerPanels

PROBE_SECONDS = 0.02
"""A measurement is repeated for as long."""

PROBE_SIZE = 768
"""Rows and columns of the matrices that are multiplied."""

PROBE_BYTES = 2**26
"""Of the matrix that is multiplied with a vector: more than the caches hold, as a rule."""

SMALLEST_SAMPLE, LARGEST_SAMPLE = 64, 256
"""Geometries of the small systems whose products are measured: larger ones leave memory behind."""

SAMPLE_SECONDS = 0.01
"""A product with a sample takes at least so long, unless there are no more geometries."""

ASSEMBLY_SECONDS = 0.04
"""An assembly takes at least so long to be measured, unless there are no more geometries."""

MOST_REPEATS = 20
"""Repetitions of a measurement at most."""

COLUMNS = 32
"""Columns that are made to measure the speed of making them."""


@dataclass(frozen=True)
class MachineSpeeds:
    """Speeds that do not depend on the system.

    Attributes
    ----------
    flops
        Floating-point operations per second of matrix products.
    bandwidth
        Bytes per second that a product of a large matrix with a vector reads.
    """

    flops: float
    bandwidth: float

    @classmethod
    def measure(cls, device: torch.device | str = "cpu") -> MachineSpeeds:
        """Multiply matrices for a fraction of a second."""
        device = torch.device(device)
        square = _numbers(PROBE_SIZE, PROBE_SIZE, device)
        flops = 2.0 * PROBE_SIZE**3 / seconds_of(lambda: square @ square, device)
        large = _numbers(PROBE_BYTES // (8 * 8192), 8192, device)
        vector = large[0] * 1.0
        bandwidth = PROBE_BYTES / seconds_of(lambda: large @ vector, device)
        return cls(flops, bandwidth)


@dataclass(frozen=True)
class SystemSpeeds:
    """Speeds of one system's own operations, whatever its number of geometries.

    Attributes
    ----------
    kept_product, computed_product
        Seconds of a product a pair of geometries (of all ``M²``), with radial factors that are
        kept or computed anew.
    kept_bytes
        Bytes of radial factors a pair of geometries.
    column
        Seconds that one column takes for each geometry.
    assembly
        Seconds that a pair of geometries (of ``M (M + 1) / 2``) takes in an assembly.
    """

    kept_product: float
    computed_product: float
    kept_bytes: float
    column: float
    assembly: float

    @classmethod
    def measure(cls, operator: KernelOperator) -> SystemSpeeds:
        """Work with some of the operator's geometries, more and more until it can be measured."""
        device, most = operator.device, min(len(operator.geometries), LARGEST_SAMPLE)
        count = min(SMALLEST_SAMPLE, most)
        while True:
            sample = operator.subset(_spread(operator, count))
            product, vector = sample.product(), sample.diagonal()
            kept = seconds_of(partial(product, vector), device)
            if kept > SAMPLE_SECONDS or count == most:
                break
            count = min(4 * count, most)
        computed = seconds_of(partial(sample.product(max_memory=0), vector), device)
        indices = np.linspace(0, sample.size - 1, min(COLUMNS, sample.size)).astype(np.int64)
        columns = seconds_of(partial(sample.columns, indices), device)
        return cls(
            kept_product=kept / count**2,
            computed_product=max(computed, kept) / count**2,
            kept_bytes=product.memory / count**2,
            column=columns / (len(indices) * count),
            assembly=_assembly(operator),
        )

    @classmethod
    def of_stored_matrix(cls, block_size: int, machine: MachineSpeeds) -> SystemSpeeds:
        """Return the speeds of a system whose matrix is stored."""
        entry = 8.0 / machine.bandwidth
        pair = entry * block_size**2
        return cls(pair, pair, 0.0, entry * block_size, pair)


def seconds_of(function: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Return the seconds that a call takes: the median of a few, after one that does not count."""
    device = torch.device(device)
    times: list[float] = []
    function()
    _wait(device)
    while sum(times) < PROBE_SECONDS and len(times) < MOST_REPEATS:
        started = time.perf_counter()
        function()
        _wait(device)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _spread(operator: KernelOperator, count: int) -> IntArray:
    return np.linspace(0, len(operator.geometries) - 1, count).astype(np.int64)


def _numbers(rows: int, columns: int, device: torch.device) -> Array:
    """Return a matrix of rank one, which is made much faster than a random one."""
    first, second = (
        torch.linspace(0.5, 1.5, n, dtype=torch.float64, device=device) for n in (rows, columns)
    )
    return native(first[:, None] * second)


def _assembly(operator: KernelOperator) -> float:
    """Return the seconds that a pair of geometries takes, from more and more geometries."""
    most = len(operator.geometries)
    count = min(16, most)
    while True:
        sample = operator.subset(_spread(operator, count))
        panels = LowerPanels(
            sample.size, block_size=sample.block_size, dtype=sample.dtype, device=sample.device
        )
        started = time.perf_counter()
        sample.assemble(panels)
        _wait(sample.device)
        seconds = time.perf_counter() - started
        if seconds > ASSEMBLY_SECONDS or count == most:
            return seconds / (0.5 * count * (count + 1))
        count = min(2 * count, most)
