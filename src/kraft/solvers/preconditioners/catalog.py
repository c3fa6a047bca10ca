"""The preconditioners by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from kraft.core.errors import OptionError
from kraft.solvers.preconditioners.atomic_blocks import AtomicBlocks
from kraft.solvers.preconditioners.base import PreconditionerMethod
from kraft.solvers.preconditioners.geometries import Geometries
from kraft.solvers.preconditioners.identity import Identity
from kraft.solvers.preconditioners.incomplete_cholesky import IncompleteCholesky
from kraft.solvers.preconditioners.jacobi import Jacobi
from kraft.solvers.preconditioners.leverage import Leverage
from kraft.solvers.preconditioners.low_rank import RemainderName
from kraft.solvers.preconditioners.random_pivoting import RandomPivoting
from kraft.solvers.preconditioners.random_pivoting_plain import PlainRandomPivoting
from kraft.solvers.preconditioners.rank_leverage import RankLeverage
from kraft.solvers.preconditioners.svd import Svd
from kraft.solvers.preconditioners.uniform import Uniform

DEFAULT_METHOD = RandomPivoting.name

METHODS: Mapping[str, Any] = MappingProxyType(
    {
        method.name: method
        for method in (
            RandomPivoting,
            PlainRandomPivoting,
            IncompleteCholesky,
            Uniform,
            Leverage,
            RankLeverage,
            Geometries,
            Svd,
            Jacobi,
            AtomicBlocks,
            Identity,
        )
    }
)
"""The class of every method, by its name; the default first."""


def preconditioner_method(
    name: str, *, remainder: RemainderName = "blocks", block_geometries: int = 1
) -> PreconditionerMethod:
    """Return a method by its name.

    Parameters
    ----------
    name
        One of :data:`METHODS`.
    remainder
        What methods with a low-rank part add to it: ``"blocks"``, the diagonal blocks of what is
        left, or ``"shift"``, the regularization alone as in the papers.
    block_geometries
        Geometries in a block.

    Raises
    ------
    OptionError
        When a name is not known, or a block would hold no geometry.
    """
    if name not in METHODS:
        raise OptionError(f"Unknown preconditioner {name!r}. Choose one of: {', '.join(METHODS)}.")
    method: Callable[..., PreconditionerMethod] = METHODS[name]
    taken = {field.name for field in fields(METHODS[name])}
    options = {"remainder": remainder, "block_geometries": block_geometries}
    return method(**{key: value for key, value in options.items() if key in taken})


def method_with_blocks(name: str, block_geometries: int) -> PreconditionerMethod:
    """Return a method by its name with blocks of so many geometries; 0 takes the papers' shift."""
    if block_geometries == 0:
        return preconditioner_method(name, remainder="shift")
    return preconditioner_method(name, block_geometries=block_geometries)
