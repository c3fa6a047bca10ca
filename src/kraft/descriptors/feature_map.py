"""From the features of a descriptor to those that a kernel compares, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.linalg.arrays import Array, host

ASYMMETRY = 1e-12
"""Entries of a mixing that symmetry makes equal may differ by this share of the largest one."""


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """The linear map ``z = C s (x - x̄)`` from features to kernel features.

    The kernel is a function of ``|z - z'|``, so ``s C² s`` is its metric in the space of the
    features (`docs/theory.md`, eqs. 2 and 28). All parts are NumPy arrays or all are tensors, and
    so are the arguments of the methods.

    Attributes
    ----------
    scale
        ``(D,)`` factors ``s``: the weights of the features times the kernel's scale.
    center
        ``(D,)`` the features ``x̄`` that become zero.
    mixing
        ``(D, D)`` symmetric matrix ``C`` that commutes with the permutations of the features; None
        for the identity.

    Examples
    --------
    >>> import numpy as np
    >>> half = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> mapped = FeatureMap(np.array([1.0, 2.0]), np.zeros(2), half)
    >>> mapped.values(np.array([[1.0, 1.0]])), mapped.pull(np.array([[1.0, 0.0]]))
    (array([[2. , 2.5]]), array([[1., 1.]]))
    """

    scale: Array
    center: Array
    mixing: Array | None = None

    @property
    def mixes(self) -> bool:
        """Whether a kernel feature depends on more than one feature."""
        return self.mixing is not None

    def values(self, features: Array) -> Array:
        """Return kernel features ``(..., D)`` of features ``(..., D)``."""
        return self.mixed((features - self.center) * self.scale)

    def push(self, directions: Array) -> Array:
        """Return how kernel features change, ``(..., D)``, when features do, ``(..., D)``."""
        return self.mixed(directions * self.scale)

    def push_columns(self, columns: Array) -> Array:
        """Return the same for columns ``(..., D, C)``, as of a Jacobian."""
        scaled = columns * self.scale[:, None]
        return scaled if self.mixing is None else self.mixing @ scaled

    def pull(self, gradients: Array) -> Array:
        """Return derivatives by features ``(..., D)`` of those by kernel features ``(..., D)``."""
        return self.mixed(gradients) * self.scale

    def numpy(self) -> FeatureMap:
        """Return the same map in NumPy arrays."""
        return self._converted(host)

    def on(self, device: torch.device | str) -> FeatureMap:
        """Return the same map in float64 tensors on a device."""
        return self._converted(
            lambda part: torch.as_tensor(part, dtype=torch.float64, device=device)
        )

    def mixed(self, values: Array) -> Array:
        """Return ``C y`` of scaled values ``(..., D)``."""
        return values if self.mixing is None else values @ self.mixing

    def _converted(self, convert: Callable[[Array], Array]) -> FeatureMap:
        mixing = None if self.mixing is None else convert(self.mixing)
        return FeatureMap(convert(self.scale), convert(self.center), mixing)


def checked_mixing(
    feature_mixing: ArrayLike | None, feature_permutations: IntArray
) -> FloatArray | None:
    """Return the mixing of features as an array; None for None.

    Parameters
    ----------
    feature_mixing
        ``(D, D)``, see :class:`FeatureMap`.
    feature_permutations
        ``(S, D)`` action of the permutation group on the features.

    Raises
    ------
    OptionError
        When its shape or a value does not fit, or it is not symmetric or breaks the group.
    """
    if feature_mixing is None:
        return None
    mixing, n_features = np.array(feature_mixing, dtype=np.float64), feature_permutations.shape[1]
    if mixing.shape != (n_features, n_features) or not np.isfinite(mixing).all():
        raise OptionError(
            f"The mixing of features must be a matrix of {n_features} x {n_features} finite "
            f"numbers, a row and a column a pair of atoms that is kept; got shape {mixing.shape}."
        )
    if not mixing.any():
        raise OptionError("The mixing of features must not be all zero: no feature would be left.")
    allowed = ASYMMETRY * np.abs(mixing).max()
    if np.abs(mixing - mixing.T).max() > allowed:
        raise OptionError(
            "The mixing of features must be a symmetric matrix; make it (C + Cᵀ) / 2."
        )
    for images in feature_permutations:
        if np.abs(mixing[np.ix_(images, images)] - mixing).max() > allowed:
            raise OptionError(
                "The mixing of features must be the same for equivalent pairs of features, but "
                "the permutations change it. Average it over the permutations."
            )
    return mixing
