"""What either solver will take: memory from counting, time from measured speeds.

Dense: an assembly and ``n³ / 3`` operations. Iterative (paper 004, section IV, with bytes where
they count): about ``3 n k²`` operations to build a preconditioner of rank ``k``, then each step one
product with the matrix and one application, which reads ``L`` and the blocks twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from kraft.models.iteration_rule import IterationRule
from kraft.models.solver_speeds import MachineSpeeds, SystemSpeeds
from kraft.solvers import DenseCholesky, IterativeSolver

FACTORIZATION_SPEED = 0.7
"""Of the dense factorization, relative to products of matrices."""

BUILDING_SPEED = 0.6
"""Of the arithmetic that builds a preconditioner, relative to products of matrices."""

PROPOSALS = 1.4
"""Columns made for every column that is kept: some are rejected."""

VECTORS_READ = 24
"""Vectors that a step of the iteration reads or writes beside product and preconditioner."""

LARGEST_BLOCK = 600
"""Rows of a block of the preconditioner at most."""

BLOCK_SHARE = 0.2
"""Rows of a block for each column of the preconditioner."""


@dataclass(frozen=True)
class SystemSize:
    """A system of ``n_geometries`` with ``block_size`` labels each."""

    n_geometries: int
    block_size: int
    itemsize: int = 8

    @property
    def n(self) -> int:
        """Number of labels."""
        return self.n_geometries * self.block_size


@dataclass(frozen=True)
class Cost:
    """Memory and time of a solution.

    Attributes
    ----------
    memory
        Bytes at the peak.
    assembly, factorization, solution
        Seconds: of the matrix, or what is kept of it; of the factorization, or building the
        preconditioner; of the substitutions or iterations.
    iterations
        Steps expected; 0 for the dense solver.
    """

    memory: int
    assembly: float
    factorization: float
    solution: float
    iterations: int = 0

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.assembly + self.factorization + self.solution


def dense_cost(size: SystemSize, machine: MachineSpeeds, system: SystemSpeeds) -> Cost:
    """Return the cost of the dense solver."""
    pairs = 0.5 * size.n_geometries * (size.n_geometries + 1)
    substitutions = 2.0 * size.itemsize * 0.5 * size.n**2 / machine.bandwidth
    product = system.computed_product * size.n_geometries**2
    return Cost(
        memory=dense_memory(size),
        assembly=system.assembly * pairs,
        factorization=DenseCholesky.required_flops(size.n) / (FACTORIZATION_SPEED * machine.flops),
        solution=2.0 * substitutions + product,
    )


def iterative_cost(
    size: SystemSize,
    rank: int,
    block_geometries: int,
    rule: IterationRule,
    machine: MachineSpeeds,
    system: SystemSpeeds,
    allowed: int | None = None,
) -> Cost:
    """Return the cost of the iterative solver in ``allowed`` bytes (None: no limit)."""
    needed = iterative_memory(size, rank, block_geometries)
    pairs = float(size.n_geometries**2)
    wanted = system.kept_bytes * pairs
    room = wanted if allowed is None else min(wanted, max(0.0, float(allowed - needed)))
    share = room / wanted if wanted else 1.0
    product = pairs * (share * system.kept_product + (1.0 - share) * system.computed_product)
    iterations = rule.iterations(rank, size.n)
    step = product + _application(size, rank, block_geometries, machine)
    keeping = share * pairs * max(0.0, system.computed_product - system.kept_product)
    return Cost(
        memory=needed + int(room),
        assembly=keeping,
        factorization=_building(size, rank, block_geometries, machine, system),
        solution=iterations * step,
        iterations=round(iterations),
    )


def dense_memory(size: SystemSize) -> int:
    """Return the bytes that the dense solver takes."""
    return DenseCholesky.required_memory(size.n, size.block_size, size.itemsize)


def iterative_memory(size: SystemSize, rank: int, block_geometries: int) -> int:
    """Return the bytes that the iterative solver takes without what its product keeps."""
    return IterativeSolver.required_memory(
        size.n, size.block_size, rank, block_geometries=block_geometries, itemsize=size.itemsize
    )


def blocks_for(rank: int, block_size: int) -> int:
    """Return how many geometries a block has as a rule, beside a rank."""
    rows = min(BLOCK_SHARE * rank, LARGEST_BLOCK)
    return max(1, round(rows / block_size))


def _application(
    size: SystemSize, rank: int, block_geometries: int, machine: MachineSpeeds
) -> float:
    """Return the seconds of one application and of the vectors of one step."""
    columns = 2 * rank + 2 * block_geometries * size.block_size + VECTORS_READ
    return size.itemsize * size.n * columns / machine.bandwidth


def _building(
    size: SystemSize,
    rank: int,
    block_geometries: int,
    machine: MachineSpeeds,
    system: SystemSpeeds,
) -> float:
    """Return the seconds in which a preconditioner is built."""
    columns = PROPOSALS * rank * size.n_geometries * system.column
    rows = block_geometries * size.block_size
    operations = size.n * rank * (3.0 * rank + 4.0 * rows) + rank**3 / 3.0 + size.n * rows**2
    blocks = 0.5 * size.n_geometries * (block_geometries + 1) * system.assembly
    return columns + blocks + operations / (BUILDING_SPEED * machine.flops)
