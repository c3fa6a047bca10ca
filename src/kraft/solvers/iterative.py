"""The iterative solver: preconditioned conjugate gradients, restarted when they stall."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kraft.core.errors import MemoryLimitError, OptionError
from kraft.core.memory import available_memory, format_bytes
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.core.typing import IntArray
from kraft.linalg.arrays import Array, native
from kraft.linalg.operators import Product, SymmetricOperator
from kraft.linalg.row_arithmetic import CHUNK_ELEMENTS
from kraft.solvers.iteration import Iteration
from kraft.solvers.monitor import Monitor
from kraft.solvers.outcome import SolveOutcome
from kraft.solvers.preconditioners.base import Preconditioner, PreconditionerMethod
from kraft.solvers.state import SolverState

VECTORS = 16
"""Vectors of the size of a right-hand side that an iteration holds at its peak."""

WORK_COLUMNS = 256
"""Columns of work while those of the preconditioner are made."""

BLOCK_COPIES = 5
"""Copies of a block of the remainder while it is factorized."""

LEAST_GROWTH = 1.2
"""A restart with a rank that is larger by less than this factor is not worth its cost."""

AVAILABLE_SHARE = 0.8
"""Of the memory that the machine has left, where no limit is given."""


@dataclass(frozen=True)
class IterativeSolver:
    """Preconditioned conjugate gradients with restarts, paper 000, appendix G.

    Parameters
    ----------
    preconditioner
        How the preconditioner is built.
    rank
        Number of its columns at first.
    tolerance
        Relative residual ``|y - (A + Λ) c| / |y|`` that ends the iteration, recomputed.
    max_iterations
        Steps at most, over all restarts; the larger of 1000 and the size when not given.
    max_memory
        Bytes it may use in all; a share of what the machine has when not given.
    seed
        Of the random choice of columns.
    rank_growth
        Factor of the rank at a restart; 1 keeps the rank.
    max_restarts
        Restarts with a stronger preconditioner at most.
    check_interval
        Steps between recomputed residuals.
    """

    preconditioner: PreconditionerMethod
    rank: int
    tolerance: float = 1e-4
    max_iterations: int | None = None
    max_memory: int | None = None
    seed: int = 0
    rank_growth: float = 2.0
    max_restarts: int = 6
    check_interval: int = 50

    def __post_init__(self) -> None:
        if not 0.0 < self.tolerance < 1.0:
            raise OptionError(
                f"The tolerance must lie between 0 and 1, but is {self.tolerance:g}. "
                "Give 1e-4, say."
            )
        if self.rank < 0:
            raise OptionError(f"The rank must not be negative, but is {self.rank}.")
        if self.rank_growth < 1.0 or self.check_interval < 1 or self.max_restarts < 0:
            raise OptionError(
                "Expected rank_growth >= 1, check_interval >= 1 and max_restarts >= 0, got "
                f"{self.rank_growth}, {self.check_interval} and {self.max_restarts}."
            )

    @staticmethod
    def required_memory(
        size: int,
        block_size: int,
        rank: int,
        *,
        block_geometries: int = 0,
        columns: int = 1,
        itemsize: int = 8,
    ) -> int:
        """Return the bytes that a solution takes at its peak, without what the product keeps.

        Beside its columns, the preconditioner has a few columns of work while they are made; after
        that the blocks of the remainder, a triangle and, for a moment, a square of its rank.

        Parameters
        ----------
        size, block_size
            Rows in all and of a geometry.
        rank
            Columns of the preconditioner.
        block_geometries
            Geometries in a block of the remainder; 0 for a multiple of the identity.
        columns
            Right-hand sides.
        """
        rank = min(rank, size)
        making = min(WORK_COLUMNS, max(rank, 1)) * size
        rows = block_geometries * block_size
        inverting = size * rows + max(3 * rank * rank // 2, BLOCK_COPIES * rows * rows)
        if block_geometries == 0:  # ill-conditioned as a rule: a QR by chunks
            inverting = rank * rank + max(rank * rank // 2, min(size * rank, CHUNK_ELEMENTS))
        return itemsize * (size * rank + max(making, inverting) + VECTORS * size * columns)

    def prepare(
        self,
        operator: SymmetricOperator,
        regularization: Tensor | float,
        progress: Progress = silent,
        *,
        start: SolverState | None = None,
    ) -> PreparedIterative:
        """Prepare the product and build the preconditioner of ``A + Λ``.

        Parameters
        ----------
        operator
            ``A``.
        regularization
            ``Λ``, a number or one number a row.
        progress
            Told of the stages.
        start
            A state to resume: the preconditioner is rebuilt from its landmark columns.

        Raises
        ------
        MemoryLimitError
            Before anything large is allocated, when the preconditioner does not fit.
        """
        rank = min(self.rank if start is None else max(self.rank, start.rank), operator.size)
        itemsize = torch.finfo(operator.dtype).bits // 8
        needed = self.required_memory(
            operator.size,
            operator.block_size,
            rank,
            block_geometries=_block_geometries(self.preconditioner),
            itemsize=itemsize,
        )
        allowed = self.max_memory
        if allowed is None:
            allowed = int(AVAILABLE_SHARE * available_memory(operator.device))
        if needed > allowed:
            smaller = max(0, int(rank * (allowed / needed) * 0.9))
            raise MemoryLimitError(
                f"A preconditioner of {rank} columns needs {format_bytes(needed)} for "
                f"{operator.size} labels, but may use {format_bytes(allowed)}. Choose a smaller "
                f"--rank (about {smaller}) or allow more memory (--max-memory)."
            )
        started = time.perf_counter()
        product = operator.product(max_memory=allowed - needed)
        prepared = time.perf_counter()
        native_regularization = (
            native(regularization) if isinstance(regularization, Tensor) else regularization
        )
        result = PreparedIterative(
            solver=self,
            operator=operator,
            regularization=native_regularization,
            product=product,
            allowed_memory=allowed,
            seconds_product=prepared - started,
        )
        result.build(rank, progress, landmarks=start)
        return result


@dataclass(eq=False)
class PreparedIterative:
    """A system with its product and preconditioner, ready for any number of right-hand sides.

    The preconditioner may grow while a system is solved.
    """

    solver: IterativeSolver
    operator: SymmetricOperator
    regularization: Array | float
    product: Product
    allowed_memory: int
    seconds_product: float
    seconds_preconditioner: float = 0.0
    seconds_last_build: float = 0.0
    _preconditioner: Preconditioner | None = None
    _iteration: Iteration | None = field(default=None, repr=False)
    _builds: int = 0
    _complete: bool = False

    @property
    def preconditioner(self) -> Preconditioner:
        """The present preconditioner."""
        assert self._preconditioner is not None  # built by `IterativeSolver.prepare`
        return self._preconditioner

    @property
    def memory(self) -> int:
        """Bytes kept by the preconditioner and the cache of the product."""
        return self.preconditioner.memory + self.product.memory

    def build(
        self, rank: int, progress: Progress = silent, *, landmarks: SolverState | None = None
    ) -> None:
        """Build the preconditioner, or a stronger one that keeps the columns of the present one."""
        previous: Preconditioner | None = self._preconditioner
        if previous is None and landmarks is not None and len(landmarks.landmarks):
            previous = SavedLandmarks(self.solver.preconditioner.name, landmarks)
        started, self._complete = time.perf_counter(), False
        self._preconditioner = self.solver.preconditioner.build(
            self.operator,
            self.regularization,
            rank,
            rng=generator(self.solver.seed, f"preconditioner {self._builds}"),
            progress=progress,
            previous=previous,
        )
        self._builds, self._complete = self._builds + 1, True
        self.seconds_last_build = time.perf_counter() - started
        self.seconds_preconditioner += self.seconds_last_build

    def apply(self, vectors: Array) -> Array:
        """Return ``(A + Λ) v`` for native ``(n,)`` or ``(n, m)``."""
        weights = self.regularization
        if not isinstance(weights, float | int) and vectors.ndim == 2:
            weights = weights[:, None]
        return self.product(vectors) + weights * vectors

    def stronger_rank(self, columns: int = 1) -> int | None:
        """Return the rank for the next restart, ``None`` when memory or the size forbids more."""
        present, growth = self.preconditioner.rank, self.solver.rank_growth
        if growth == 1.0 or present == 0:
            return None
        while growth > LEAST_GROWTH:
            rank = min(max(int(present * growth), present + 1), self.operator.size)
            if rank > present and self._fits(rank, columns):
                return rank
            growth = 1.0 + 0.7 * (growth - 1.0)
        return None

    def _fits(self, rank: int, columns: int) -> bool:
        needed = self.solver.required_memory(
            self.operator.size,
            self.operator.block_size,
            rank,
            block_geometries=_block_geometries(self.solver.preconditioner),
            columns=columns,
            itemsize=torch.finfo(self.operator.dtype).bits // 8,
        )
        return needed + self.product.memory <= self.allowed_memory

    def solve(
        self,
        right_hand_side: Tensor,
        *,
        start: SolverState | None = None,
        monitor: Monitor | None = None,
        progress: Progress = silent,
    ) -> SolveOutcome:
        """Solve for labels ``(n,)`` or ``(n, m)``.

        An unconverged solution is returned as well: see ``status``, ``advice`` and
        :meth:`~kraft.solvers.outcome.SolveOutcome.require_converged` of the outcome. Whatever
        interrupts it, :meth:`state` has the latest iterate.

        Parameters
        ----------
        right_hand_side
            The labels.
        start
            A state to go on from; zero when not given.
        monitor
            Told of every step; may stop the iteration.
        progress
            Told of the number of steps (stage ``solving``; total 0, since it is not known).
        """
        if not self._complete:  # growing it was interrupted
            self.build(self.preconditioner.rank, progress)
        self._iteration = Iteration(self, right_hand_side, start, monitor, progress)
        return self._iteration.run()

    def state(self) -> SolverState | None:
        """Return where the latest solution stands; ``None`` before the first one."""
        return None if self._iteration is None else self._iteration.state()


@dataclass(frozen=True)
class SavedLandmarks:
    """The columns of a preconditioner of an interrupted run, to be built upon."""

    name: str
    source: SolverState
    memory: int = 0
    description: str = "saved landmark columns"

    @property
    def rank(self) -> int:
        """Number of columns."""
        return len(self.source.landmarks)

    @property
    def landmarks(self) -> IntArray:
        """Indices of the columns, in their order."""
        return self.source.landmarks

    def solve(self, vectors: Array) -> Array:
        """Return the vectors: nothing is built yet."""
        return vectors


def _block_geometries(method: PreconditionerMethod) -> int:
    if getattr(method, "remainder", "shift") != "blocks":
        return 0
    block_geometries: int = getattr(method, "block_geometries", 1)
    return block_geometries
