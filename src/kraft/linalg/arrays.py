"""Code that runs on NumPy arrays and on torch tensors alike.

Most functions have the same name and arguments in both libraries; the few that do not stand here.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Array: TypeAlias = Any
"""A NumPy array or a torch tensor; all arrays of one call are of the same kind."""

Namespace: TypeAlias = ModuleType
"""``numpy`` or ``torch``."""


def namespace(array: Array) -> Namespace:
    """Return the library that an array belongs to."""
    return torch if isinstance(array, Tensor) else np


def take(array: Array, indices: Array) -> Array:
    """Return ``array[:, indices]``, fast."""
    if isinstance(array, Tensor):
        return array.index_select(1, indices)
    return array.take(indices, axis=1)


def empty_like(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an uninitialized array of this shape, with the library, type and device of another."""
    if isinstance(array, Tensor):
        return array.new_empty(shape)
    return np.empty(shape, dtype=array.dtype)
