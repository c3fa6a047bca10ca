"""What the iterative solver says it takes, against what NumPy allocates."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from kraft.linalg.dense_operator import DenseOperator
from kraft.solvers import IterativeSolver
from kraft.solvers.preconditioners import preconditioner_method

SIZE, BLOCK = 3000, 10


@pytest.fixture(scope="module")
def operator() -> DenseOperator:
    points = np.random.default_rng(0).standard_normal((SIZE, 4))
    squared = ((points[:, None] - points) ** 2).sum(axis=2)
    return DenseOperator(torch.tensor(np.exp(-0.5 * squared)), block_size=BLOCK)


def peaks(operator: DenseOperator, rank: int, blocks: int) -> tuple[int, int, int]:
    """Return the bytes asked for, those allocated at the peak, and those of the preconditioner."""
    method = preconditioner_method(
        "random-pivoting", remainder="blocks" if blocks else "shift", block_geometries=blocks or 1
    )
    solver = IterativeSolver(method, rank, max_iterations=10, max_memory=10**9, rank_growth=1.0)
    labels = torch.ones(SIZE, dtype=torch.float64)
    tracemalloc.start()
    try:
        prepared = solver.prepare(operator, 1e-3)
        prepared.solve(labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert prepared.preconditioner.rank == rank
    needed = solver.required_memory(SIZE, BLOCK, rank, block_geometries=blocks)
    return needed, peak, prepared.preconditioner.memory


@pytest.mark.parametrize(("rank", "blocks"), [(300, 1), (600, 10), (600, 0), (300, 40), (0, 5)])
def test_the_peak_is_what_is_asked_for(operator, rank, blocks):
    needed, peak, kept = peaks(operator, rank, blocks)
    assert peak < 1.02 * needed
    remainder = 8 * (SIZE * BLOCK * blocks + 5 * (BLOCK * blocks) ** 2)
    one_work_array = 8 * SIZE * max(256, rank)
    assert kept < 1.1 * 8 * SIZE * rank + remainder + 10_000
    assert needed < 1.1 * 8 * SIZE * rank + remainder + one_work_array + 12 * rank**2
