"""What a training will take, before it is started: memory from counting, time from measuring.

Memory follows from the sizes of the arrays. Time is put together from the machine's rates, measured
for a fraction of a second, from the assembly of a few of the data's own geometries, and from the
number of trials that the choice of hyper-parameters makes as a rule.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from kraft.core.errors import OptionError
from kraft.core.memory import available_memory
from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.data.dataset import Dataset
from kraft.descriptors import InverseDistances
from kraft.kernels import KernelOperator
from kraft.linalg.panel_arithmetic import cholesky_
from kraft.linalg.panels import LowerPanels, panel_entries
from kraft.models.force_field import check_device
from kraft.models.labels import Labels
from kraft.models.objective import KEPT_SYSTEMS, TrainingArrays
from kraft.models.preparation import MAX_VALID_IN_SEARCH
from kraft.models.selection import (
    LARGE_SYSTEM,
    SMALL_SYSTEM,
    TYPICAL_FINALISTS,
    TYPICAL_LENGTH_SCALES,
    TYPICAL_TRIALS,
    Request,
    subset_size,
)
from kraft.solvers import DenseCholesky
from kraft.symmetry import find_permutations
from kraft.symmetry.group import identity, validate
from kraft.symmetry.orbits import feature_permutations

_EFFICIENCY = 0.7
"""Of the large factorization, relative to matrix products."""

_ASSEMBLY_SECONDS = 0.3
_PROBE_SECONDS = 0.1
_PROBE_SIZE = 1024


@dataclass(frozen=True)
class StageSeconds:
    """Estimated wall time of the stages of a training, in seconds."""

    symmetry: float
    choice: float
    assembly: float
    factorization: float
    prediction: float

    @property
    def total(self) -> float:
        """All stages together."""
        return self.symmetry + self.choice + self.assembly + self.factorization + self.prediction


@dataclass(frozen=True)
class Estimate:
    """What a training is expected to take.

    Attributes
    ----------
    n_train
        Training geometries.
    n_labels
        Rows of the linear system.
    n_symmetries
        Permutations found or given.
    memory
        Bytes of the whole process at its peak.
    solver_memory
        Bytes of the linear system, part of ``memory``.
    available
        Bytes that can be allocated on the device now.
    seconds
        Wall time by stage.
    flops_per_second
        Measured rate of matrix products.
    """

    n_train: int
    n_labels: int
    n_symmetries: int
    memory: int
    solver_memory: int
    available: int
    seconds: StageSeconds
    flops_per_second: float

    @property
    def fits(self) -> bool:
        """Whether the linear system fits into the memory that is available."""
        return self.solver_memory <= self.available


def estimate_training(
    dataset: Dataset,
    n_train: int,
    *,
    n_valid: int = 0,
    request: Request = Request(),  # noqa: B008
    permutations: Literal["auto"] | ArrayLike | None = "auto",
    max_permutations: int | None = None,
    energy_weight: float = 0.0,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> Estimate:
    """Estimate memory and time of a training on ``n_train`` geometries like those of ``dataset``.

    Takes a few seconds: it searches for the symmetries and assembles a small part of the matrix.

    Parameters
    ----------
    dataset
        Some geometries of the molecule; fewer than ``n_train`` will do.
    n_train, n_valid
        Sizes of the training in question.
    request
        Which hyper-parameters are given.
    permutations, max_permutations, energy_weight, device, seed, progress
        As for :func:`kraft.train`.

    Raises
    ------
    OptionError
        When a number is out of range.
    """
    _check_request(n_train, n_valid, device)
    resident = _resident_memory()
    some = np.unique(np.linspace(0, len(dataset) - 1, n_train).astype(np.int64))
    dataset = dataset.subset(some)
    started = time.perf_counter()
    group = _group(dataset, permutations, max_permutations, seed, progress)
    symmetry_seconds = time.perf_counter() - started
    arrays = _arrays(dataset, group, energy_weight, device)
    rates = _Rates.measure(device)
    assembly = _AssemblyTime.measure(arrays, request, progress)
    block = assembly.block_size
    n_labels = n_train * block
    solver_memory = DenseCholesky.required_memory(n_labels, block)
    counts = _Counts(arrays, n_train, n_valid, len(group), block)
    seconds = StageSeconds(
        symmetry=symmetry_seconds if isinstance(permutations, str) else 0.0,
        choice=_choice_seconds(counts, request, rates, assembly),
        assembly=assembly.seconds(n_train),
        factorization=DenseCholesky.required_flops(n_labels) / (_EFFICIENCY * rates.products),
        prediction=counts.prediction_flops / rates.products,
    )
    largest_stage = max(solver_memory, 0 if request.complete else _choice_memory(counts))
    return Estimate(
        n_train=n_train,
        n_labels=n_labels,
        n_symmetries=len(group),
        memory=resident + largest_stage + counts.array_memory,
        solver_memory=solver_memory,
        available=available_memory(device),
        seconds=seconds,
        flops_per_second=rates.products,
    )


@dataclass(frozen=True)
class _Rates:
    """Floating-point operations per second of products and of factorizations of small systems."""

    products: float
    factorization: float

    @classmethod
    def measure(cls, device: str) -> _Rates:
        n = _PROBE_SIZE
        rng = torch.Generator().manual_seed(0)
        matrix = torch.randn(n, n, generator=rng, dtype=torch.float64).to(device)
        definite = matrix @ matrix.T + n * torch.eye(n, dtype=torch.float64, device=device)
        products = 2.0 * n**3 / _best_time(lambda: matrix @ matrix, device)
        factorization = n**3 / 3.0 / _best_time(lambda: cholesky_(definite.clone()), device)
        return cls(products, factorization)


def _best_time(function: Callable[[], object], device: str) -> float:
    """Return the seconds that a call takes, the median over a fraction of a second."""
    times: list[float] = []
    function()
    while sum(times) < _PROBE_SECONDS or len(times) < 3:
        started = time.perf_counter()
        function()
        if device != "cpu":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


@dataclass(frozen=True)
class _AssemblyTime:
    """Time of an assembly: so much for each pair of geometries."""

    block_size: int
    per_pair: float

    @classmethod
    def measure(cls, arrays: TrainingArrays, request: Request, progress: Progress) -> _AssemblyTime:
        """Assemble more and more geometries until it takes long enough to be measured."""
        kernel = request.kernels[0]
        n_geometries = min(16, arrays.n_train)
        while True:
            operator, _, _ = arrays.operator(kernel, 10.0, np.arange(n_geometries))
            seconds = _assembly_seconds(operator)
            progress("measuring the assembly", n_geometries, arrays.n_train)
            if seconds > _ASSEMBLY_SECONDS or n_geometries == arrays.n_train:
                return cls(operator.block_size, seconds / _pairs(n_geometries))
            n_geometries = min(2 * n_geometries, arrays.n_train)

    def seconds(self, n_geometries: int) -> float:
        """Return the time of an assembly of this many geometries."""
        return self.per_pair * _pairs(n_geometries)


def _assembly_seconds(operator: KernelOperator) -> float:
    panels = LowerPanels(
        operator.size, block_size=operator.block_size, dtype=operator.dtype, device=operator.device
    )
    started = time.perf_counter()
    operator.assemble(panels)
    if operator.device.type == "cuda":
        torch.cuda.synchronize(operator.device)
    return time.perf_counter() - started


def _pairs(n_geometries: int) -> float:
    return n_geometries * (n_geometries + 1) / 2.0


@dataclass(frozen=True)
class _Counts:
    """Sizes from which memory and time follow."""

    arrays: TrainingArrays
    n_train: int
    n_valid: int
    n_symmetries: int
    block_size: int

    @property
    def n_features(self) -> int:
        return self.arrays.descriptor.n_features

    @property
    def array_memory(self) -> int:
        """Bytes of features, gradients and bases of the training geometries."""
        n_atoms = self.arrays.descriptor.n_atoms
        entries = 8 * self.n_features + 3 * n_atoms * self.block_size
        return 8 * self.n_train * entries

    @property
    def prediction_flops(self) -> float:
        """Operations of the residual, the integration constant and the validation."""
        queries = 2 * self.n_train + self.n_valid
        return self.query_flops(self.n_train) * queries

    def query_flops(self, n_train: int) -> float:
        """Return the operations of one prediction with a model of ``n_train`` geometries."""
        return 8.0 * n_train * self.n_symmetries * self.n_features

    def subset(self, n_labels: int) -> int:
        """Return how many geometries a round of the choice works on."""
        return subset_size(self.n_train, n_labels, self.arrays.labels_per_geometry)


def _check_request(n_train: int, n_valid: int, device: str) -> None:
    if n_train < 1 or n_valid < 0:
        raise OptionError(
            f"Expected at least 1 training and 0 validation frames, got {n_train} and {n_valid}."
        )
    check_device(device)


def _choice_seconds(
    counts: _Counts, request: Request, rates: _Rates, assembly: _AssemblyTime
) -> float:
    if request.complete:
        return 0.0
    small, large = counts.subset(SMALL_SYSTEM), counts.subset(LARGE_SYSTEM)
    rounds = [(small, len(request.kernels), *_trials(request, 0))]
    if large > small:
        rounds.append((large, min(TYPICAL_FINALISTS, len(request.kernels)), *_trials(request, 1)))
    total = 0.0
    for n_geometries, n_kernels, n_trials, n_length_scales in rounds:
        size = n_geometries * counts.block_size
        if counts.n_valid:
            flops = counts.query_flops(n_geometries) * min(counts.n_valid, MAX_VALID_IN_SEARCH)
            extra = flops / rates.products
        else:  # the inverse
            extra = 2.0 * size**3 / 3.0 / rates.factorization
        trial = size**3 / 3.0 / rates.factorization + extra
        total += n_kernels * (n_trials * trial + n_length_scales * assembly.seconds(n_geometries))
    return total


def _trials(request: Request, number: int) -> tuple[int, int]:
    """Return how many trials, and how many length scales among them, one kernel takes."""
    trials, length_scales = TYPICAL_TRIALS[number], TYPICAL_LENGTH_SCALES[number]
    if request.length_scale is not None:
        return length_scales, 1
    if request.regularization is not None:
        return length_scales, length_scales
    return trials, length_scales


def _choice_memory(counts: _Counts) -> int:
    """Return the peak of a choice: the matrices kept, the one factorized, and its inverse."""
    size = counts.subset(LARGE_SYSTEM) * counts.block_size
    panels = (KEPT_SYSTEMS + 1) * panel_entries(size, counts.block_size)
    inverses = 0 if counts.n_valid else 3  # the factor as a full matrix, a copy, the inverse
    return 8 * (panels + inverses * size**2)


def _group(
    dataset: Dataset,
    permutations: Literal["auto"] | ArrayLike | None,
    max_permutations: int | None,
    seed: int,
    progress: Progress,
) -> IntArray:
    if permutations is None:
        return identity(dataset.n_atoms)[None]
    if not isinstance(permutations, str):
        return validate(permutations, dataset.atomic_numbers)
    return find_permutations(
        dataset.positions,
        dataset.atomic_numbers,
        cell=dataset.cell,
        max_permutations=max_permutations,
        seed=seed,
        progress=progress,
    ).permutations


def _arrays(dataset: Dataset, group: IntArray, energy_weight: float, device: str) -> TrainingArrays:
    cell = None if dataset.cell is None else torch.tensor(dataset.cell, device=device)
    descriptor = InverseDistances(dataset.n_atoms, cell=cell, device=device)
    return TrainingArrays(
        descriptor=descriptor,
        positions=torch.tensor(dataset.positions, device=device),
        labels=Labels.from_dataset(dataset, energy_weight),
        feature_permutations=feature_permutations(group),
        feature_weights=np.ones(descriptor.n_features),
    )


def _resident_memory() -> int:
    """Return the bytes that this process takes now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
