"""Preconditioners ``P = L Lᵀ + D`` from columns of the matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from kraft.core.errors import OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.linalg.arrays import Array
from kraft.linalg.operators import SymmetricOperator
from kraft.linalg.partial_cholesky import PartialCholesky
from kraft.linalg.row_arithmetic import squared_columns
from kraft.linalg.woodbury import Remainder, Woodbury
from kraft.solvers.preconditioners.base import Preconditioner
from kraft.solvers.remainder import Blocks, Shift

RemainderName: TypeAlias = Literal["shift", "blocks"]

STAGE = "building the preconditioner"

REMAINDERS: tuple[RemainderName, ...] = ("shift", "blocks")
"""What can stand beside the low-rank part: the regularization, or diagonal blocks."""

RESIDUAL_FLOOR = 0.1
"""Share of the mean diagonal of ``A - L Lᵀ`` that is added to the diagonal of block remainders.

Nothing is left of the landmark rows, whose remainder would be the regularization alone. Lifting
them a little brings the largest eigenvalue of ``C⁻¹ L Lᵀ C⁻ᵀ`` down by orders of magnitude, and the
number of iterations by some per cent (aspirin, 100 geometries, rank 570: 581 without, 536 with a
tenth, 683 with three tenths).
"""

REPORTED_COLUMNS = 256
"""Columns between two reports of progress."""


class LowRankPreconditioner:
    """``P = L Lᵀ + D`` with ``L`` from landmark columns, inverted by the Woodbury identity."""

    def __init__(
        self, name: str, factor: PartialCholesky, remainder: Remainder, *, selection: str = ""
    ) -> None:
        self.name = name
        self._factor: PartialCholesky | None = factor
        self._inverse = Woodbury(factor.rows, remainder)
        self._landmarks = factor.indices
        kind = f"{factor.rank} columns{f' ({selection})' if selection else ''}"
        self.description = f"{kind} and {remainder.description}"

    @property
    def rank(self) -> int:
        """Number of landmark columns."""
        return len(self._landmarks)

    @property
    def memory(self) -> int:
        """Bytes that it keeps."""
        return 0 if self._factor is None else self._inverse.memory

    @property
    def landmarks(self) -> IntArray:
        """Indices of the landmark columns, in their order."""
        return self._landmarks

    def solve(self, vectors: Array) -> Array:
        """Return ``P⁻¹ v`` for ``(n,)`` or ``(n, m)``."""
        if self._factor is None:
            raise RuntimeError("this preconditioner was built upon and has given its memory away")
        return self._inverse.solve(vectors)

    def release(self, operator: SymmetricOperator) -> PartialCholesky | None:
        """Give the factor away to be extended; None where it is of another operator or gone."""
        if self._factor is None or self._factor.operator is not operator:
            return None
        factor, self._factor = self._factor, None
        self._inverse.restore()
        return factor


@dataclass(frozen=True)
class LandmarkMethod(ABC):
    """Builds preconditioners from landmark columns; subclasses choose the columns.

    Parameters
    ----------
    remainder
        What stands beside the low-rank part: ``"blocks"``, diagonal blocks of whole geometries of
        what is left, or ``"shift"``, the regularization alone as in the papers.
    block_geometries
        Geometries in a block.
    """

    name: ClassVar[str]
    selection: ClassVar[str] = ""

    remainder: RemainderName = "blocks"
    block_geometries: int = 1

    def __post_init__(self) -> None:
        check_remainder(self.remainder, self.block_geometries)

    @abstractmethod
    def select(
        self,
        factor: PartialCholesky,
        rank: int,
        regularization: Array | float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        """Extend the factor to this rank, or for as far as the matrix has independent columns."""

    def build(
        self,
        operator: SymmetricOperator,
        regularization: Array | float,
        rank: int,
        *,
        rng: np.random.Generator,
        progress: Progress = silent,
        previous: Preconditioner | None = None,
    ) -> LowRankPreconditioner:
        """Build a preconditioner of ``A + Λ``; see :class:`PreconditionerMethod`."""
        if rank < 0:
            raise OptionError(f"The rank of a preconditioner must not be negative, but is {rank}.")
        factor = start_factor(operator, rank, previous)
        self.select(factor, factor.capacity, regularization, rng, progress)
        factor.reserve(factor.rank)
        progress(STAGE, factor.rank, factor.rank)
        remainder = make_remainder(
            operator, factor.rows, regularization, self.remainder, self.block_geometries, progress
        )
        return LowRankPreconditioner(self.name, factor, remainder, selection=self.selection)


def make_remainder(
    operator: SymmetricOperator,
    rows: Array,
    regularization: Array | float,
    remainder: RemainderName,
    block_geometries: int,
    progress: Progress,
) -> Remainder:
    """Return what stands beside ``L Lᵀ``, ``rows`` being ``Lᵀ``."""
    diagonal = operator.diagonal()
    if remainder == "shift":
        return Shift(regularization, diagonal)
    floor = residual_floor(diagonal, rows)
    return Blocks(operator, rows, regularization + floor, block_geometries, progress)


def residual_floor(diagonal: Array, rows: Array) -> float:
    """Return what block remainders have added to their diagonal, ``rows`` being ``Lᵀ``."""
    left = float((diagonal - squared_columns(rows)).mean())
    return RESIDUAL_FLOOR * max(left, 0.0)


def check_remainder(remainder: str, block_geometries: int) -> None:
    """Raise ``OptionError`` where there is no such remainder."""
    if remainder not in REMAINDERS:
        raise OptionError(
            f"Unknown remainder {remainder!r} of a preconditioner. Choose one of: "
            f"{', '.join(REMAINDERS)}."
        )
    if block_geometries < 1:
        raise OptionError(
            f"A block of a preconditioner must hold at least 1 geometry, but {block_geometries} "
            "were asked for."
        )


def start_factor(
    operator: SymmetricOperator, rank: int, previous: Preconditioner | None
) -> PartialCholesky:
    """Return a factor with room for ``rank`` columns that has those of ``previous`` already."""
    if isinstance(previous, LowRankPreconditioner):
        released = previous.release(operator)
        if released is not None:
            released.reserve(rank)
            return released
    factor = PartialCholesky(operator, rank)
    if previous is not None:
        factor.extend(previous.landmarks)
    return factor


def extend_with_draws(
    factor: PartialCholesky,
    rank: int,
    weights: Array | None,
    rng: np.random.Generator,
    progress: Progress,
) -> None:
    """Draw columns without replacement, by weights where given, until the rank is reached."""
    while factor.rank < rank:
        candidates = factor.candidates()
        if not len(candidates):
            return
        count = min(rank - factor.rank, len(candidates))
        probabilities = None
        if weights is not None:
            probabilities = np.maximum(weights[candidates], np.finfo(np.float64).tiny)
            # the smallest weights stand in for those that vanished in the sum
            probabilities = np.maximum(probabilities, 1e-12 * probabilities.max())
            probabilities /= probabilities.sum()
        drawn = rng.choice(candidates, count, replace=False, p=probabilities)
        if extend_reporting(factor, np.sort(drawn), progress) == 0:
            return


def extend_reporting(factor: PartialCholesky, indices: IntArray, progress: Progress) -> int:
    """Extend the factor block by block, telling how far it is; return the columns accepted."""
    before = factor.rank
    for start in range(0, len(indices), REPORTED_COLUMNS):
        progress(STAGE, factor.rank, factor.capacity)
        factor.extend(indices[start : start + REPORTED_COLUMNS])
    return factor.rank - before
