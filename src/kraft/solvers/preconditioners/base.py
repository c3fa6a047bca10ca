"""What a preconditioner is, and what builds one."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.linalg.arrays import Array
from kraft.linalg.operators import SymmetricOperator


class Preconditioner(Protocol):
    """A symmetric positive definite ``P ≈ A + Λ``, built and fixed."""

    @property
    def name(self) -> str:
        """Name of the method that built it."""
        ...

    @property
    def rank(self) -> int:
        """Columns of its low-rank part; may be fewer than asked for where ``A`` has no more."""
        ...

    @property
    def memory(self) -> int:
        """Bytes that it keeps."""
        ...

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def landmarks(self) -> IntArray:
        """Indices ``(rank,)`` of its columns, in their order; empty where there are none."""
        ...

    def solve(self, vectors: Array) -> Array:
        """Return ``P⁻¹ v`` as a new array, for native vectors ``(n,)`` or ``(n, m)``."""
        ...


class PreconditionerMethod(Protocol):
    """Builds preconditioners of any rank."""

    name: ClassVar[str]

    def build(
        self,
        operator: SymmetricOperator,
        regularization: Array | float,
        rank: int,
        *,
        rng: np.random.Generator,
        progress: Progress = silent,
        previous: Preconditioner | None = None,
    ) -> Preconditioner:
        """Build a preconditioner of ``A + Λ``.

        Parameters
        ----------
        operator
            ``A``.
        regularization
            ``Λ``, a number or one number a row.
        rank
            Columns of the low-rank part, at most.
        rng
            Makes all random choices.
        progress
            Told of the columns done.
        previous
            A weaker one whose landmark columns are kept, more are added. One that this method
            built for the same operator gives its memory away and cannot solve any more; of any
            other object, only ``landmarks`` is read.
        """
        ...
