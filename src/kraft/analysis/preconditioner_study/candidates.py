"""The preconditioners that a study compares, and how one is built."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kraft.core.errors import OptionError
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.linalg.operators import SymmetricOperator
from kraft.solvers.preconditioners import METHODS, Preconditioner, preconditioner_method
from kraft.solvers.preconditioners.dense_study import Spectrum
from kraft.solvers.preconditioners.low_rank import RemainderName

WITHOUT_RANK = ("none", "jacobi", "atomic-blocks")
"""Methods without columns: one preconditioner each, whatever the rank and the remainder."""

SHIFT_ONLY = ("rank-leverage", "svd")
"""Methods of the papers' study that are bounds or checks: with the papers' remainder only."""

FROM_EIGENVECTORS = ("rank-leverage", "svd")
"""Methods that need the leading eigenvectors."""

FROM_ALL_ENTRIES = ("rank-leverage", "svd", "atomic-blocks")
"""Methods that need the whole matrix, so are built from the stored one."""


@dataclass(frozen=True)
class Candidate:
    """One preconditioner.

    Attributes
    ----------
    method
        Name of the way in which its columns are chosen.
    remainder
        What is added to ``L Lᵀ``: ``"shift"``, the regularization, as in the papers; ``"blocks"``,
        the diagonal blocks of what is left, of one geometry each, or ``"blocks:5"``, of five. Empty
        for methods without columns.
    rank
        Number of columns asked for; 0 for methods without columns.
    """

    method: str
    remainder: str
    rank: int

    @property
    def key(self) -> str:
        """Name in a log of measurements.

        >>> Candidate("uniform", "shift", 30).key, Candidate("jacobi", "", 0).key
        ('uniform/shift/30', 'jacobi')
        """
        return f"{self.method}/{self.remainder}/{self.rank}" if self.remainder else self.method

    @property
    def series(self) -> str:
        """Name of what differs from it in rank only.

        >>> Candidate("uniform", "blocks:5", 30).series, Candidate("uniform", "shift", 30).series
        ('uniform + blocks:5', 'uniform')
        """
        if self.remainder in ("", "shift"):
            return self.method
        return f"{self.method} + {self.remainder}"

    @property
    def block_geometries(self) -> int:
        """Geometries in a block of the remainder; 0 without blocks."""
        if not self.remainder.startswith("blocks"):
            return 0
        return int(self.remainder.partition(":")[2] or 1)

    def expected_memory(self, operator: SymmetricOperator) -> int:
        """Return about how many bytes it will take."""
        columns = self.rank + self.block_geometries * operator.block_size
        return 8 * operator.size * max(columns, 1)


@dataclass(frozen=True)
class Built:
    """A preconditioner and how long it took to build."""

    candidate: Candidate
    preconditioner: Preconditioner
    seconds: float


def candidates(
    methods: Sequence[str], remainders: Sequence[str], ranks: Sequence[int]
) -> tuple[Candidate, ...]:
    """Return all combinations that make sense, each once.

    Raises
    ------
    OptionError
        When a method or remainder is not known, or a rank not positive.
    """
    for name in methods:
        if name not in METHODS:
            raise OptionError(
                f"There is no preconditioner {name!r}: choose among {', '.join(METHODS)}."
            )
    for remainder in remainders:
        _check_remainder(remainder)
    if any(rank < 1 for rank in ranks):
        raise OptionError(f"Ranks must be positive numbers of columns, got {list(ranks)}.")
    found: dict[Candidate, None] = {}
    for method in methods:
        if method in WITHOUT_RANK:
            found[Candidate(method, "", 0)] = None
            continue
        for remainder in remainders:
            if remainder == "shift" or method not in SHIFT_ONLY:
                found.update({Candidate(method, remainder, rank): None for rank in ranks})
    return tuple(found)


def build(
    candidate: Candidate,
    operator: SymmetricOperator,
    regularization: float,
    *,
    spectrum: Spectrum | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Built:
    """Build a preconditioner of ``K + λI``.

    Parameters
    ----------
    candidate
        Which one.
    operator, regularization
        ``K`` and ``λ``.
    spectrum
        Eigenvectors for the methods that need them, where they are known already.
    seed
        Of the choice of columns; equal for all ranks of a method.
    progress
        Told about the stages.
    """
    remainder: RemainderName = "blocks" if candidate.block_geometries else "shift"
    method = preconditioner_method(
        candidate.method,
        remainder=remainder,
        block_geometries=max(candidate.block_geometries, 1),
    )
    if candidate.method in FROM_EIGENVECTORS and spectrum is not None:
        method = replace(method, spectrum=spectrum)  # type: ignore[type-var]
    rng = generator(seed, f"study/{candidate.method}")
    started = time.perf_counter()
    made = method.build(operator, regularization, candidate.rank, rng=rng, progress=progress)
    return Built(candidate, made, time.perf_counter() - started)


def _check_remainder(remainder: str) -> None:
    name, colon, number = remainder.partition(":")
    numbered = name == "blocks" and number.isdecimal() and int(number) > 0
    if remainder not in ("shift", "blocks") and not (colon and numbered):
        raise OptionError(
            f"There is no remainder {remainder!r}: choose shift, blocks, or blocks:5 for blocks of "
            "five geometries."
        )
