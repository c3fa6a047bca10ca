"""Code that runs on NumPy arrays and on torch tensors alike.

Most functions have the same name and arguments in both libraries; the few that do not stand here.
Hot loops run on *native* arrays: NumPy's on the CPU, whose BLAS is faster for the products that
solvers need and whose calls cost less, torch's elsewhere. Public boundaries take tensors and
convert once, without copying.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import AnyArray

Array: TypeAlias = Any
"""A NumPy array or a torch tensor; all arrays of one call are of the same kind."""

Namespace: TypeAlias = ModuleType
"""``numpy`` or ``torch``."""

_NUMPY_TYPES = {torch.float64: np.dtype(np.float64), torch.float32: np.dtype(np.float32)}


def namespace(array: Array) -> Namespace:
    """Return the library that an array belongs to."""
    return torch if isinstance(array, Tensor) else np


def take(array: Array, indices: Array) -> Array:
    """Return ``array[:, indices]``, fast."""
    if isinstance(array, Tensor):
        return array.index_select(1, index_array(indices, array))
    return array.take(indices, axis=1)


def multiply_stack(left: Array, rights: Array, out: Array) -> None:
    """Write ``left @ right`` for each of a stack of matrices into ``out``."""
    if isinstance(left, Tensor):
        torch.bmm(left.expand(len(rights), *left.shape), rights, out=out)
    else:
        np.matmul(left, rights, out=out)


def take_rows(array: Array, indices: Array, out: Array) -> None:
    """Write ``array[indices]`` into ``out``, without an array in between."""
    if isinstance(array, Tensor):
        torch.index_select(array, 0, index_array(indices, array), out=out)
    else:
        np.take(array, indices, axis=0, out=out, mode="clip")


def index_array(indices: Array, like: Array) -> Array:
    """Return indices as an array that can index ``like``."""
    if isinstance(like, Tensor):
        return torch.as_tensor(indices, device=like.device)
    return np.asarray(indices)


def empty_like(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an uninitialized array of this shape, with the library, type and device of another."""
    if isinstance(array, Tensor):
        return array.new_empty(shape)
    return np.empty(shape, dtype=array.dtype)


def native(values: Tensor) -> Array:
    """Return a tensor as a native array, sharing its memory."""
    return values.detach().numpy() if values.device.type == "cpu" else values


def tensor(array: Array) -> Tensor:
    """Return a native array as a tensor, sharing its memory."""
    return array if isinstance(array, Tensor) else torch.from_numpy(array)


def host(array: Array) -> AnyArray:
    """Return any array in the memory of the host, for NumPy; shared where it is there already."""
    return array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)


def native_empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str) -> Array:
    """Return an uninitialized native array."""
    if torch.device(device).type == "cpu":
        return np.empty(shape, dtype=_NUMPY_TYPES[dtype])
    return torch.empty(shape, dtype=dtype, device=device)


def native_like(values: Array, like: Array) -> Array:
    """Return values, from anywhere, with the library, type and device of another array."""
    if isinstance(like, Tensor):
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return np.asarray(host(values), dtype=like.dtype)


def copy(array: Array) -> Array:
    """Return an independent copy."""
    return array.clone() if isinstance(array, Tensor) else array.copy()


def n_bytes(array: Array) -> int:
    """Return the memory that an array takes."""
    return int(array.nbytes)


def machine_epsilon(array: Array) -> float:
    """Return the relative spacing of numbers of the array's type."""
    return float(namespace(array).finfo(array.dtype).eps)
