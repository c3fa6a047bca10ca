"""How far a geometry is from everything that a model has learned from: cheap enough for every step.

The signal is the distance in the kernel's features to the nearest training geometry, over all
permutations,

    min_{j,q} |P_qᵀ z - z_j|  /  ℓ,

relative to the distance ``ℓ`` that only one in twenty training geometries has from all others. It
costs one of the four matrix products of a prediction and no exponential. It knows nothing of
forces: it tells where a model has no business, not how large its errors are where it has.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import OptionError
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.descriptors import FeatureMap, PairFeatures
from kraft.kernels.feature_classes import FeatureClass, feature_classes
from kraft.linalg.arrays import Array, host, index_array, namespace, native, take, tensor

QUANTILE = 0.95
"""Share of the training geometries that are nearer than 1 to another one."""

MOST_COMPARED = 500
"""Training geometries whose neighbors are looked for, at most."""

TILE_ELEMENTS = 1_000_000
"""Entries of the products with all training geometries that are held at once."""


class FeatureParameters(Protocol):
    """What the signal needs to know of a model of any kind."""

    def descriptor(self, device: torch.device | str = "cpu") -> PairFeatures:
        """Return what makes features of positions."""
        ...

    @property
    def training_descriptors(self) -> FloatArray:
        """``(M, D)`` features of the training geometries."""
        ...

    @property
    def feature_permutations(self) -> IntArray:
        """``(S, D)`` action of the permutations on the features."""
        ...

    @property
    def feature_map(self) -> FeatureMap:
        """What makes the features of the kernel of those of the descriptor, in NumPy arrays."""
        ...


class _Class(NamedTuple):
    """What one class of features brings to the products."""

    query_columns: Array  # (S_c D_c,)
    n_actions: int
    action_of_permutation: Array  # (S,)
    features_t: Array  # (D_c, M)


class Novelty:
    """The distance to the nearest training geometry, in units of what is usual among them.

    About 1 or less for geometries like the training ones, growing outside.

    Parameters
    ----------
    parameters
        The model.
    device
        Where to compute: through NumPy on ``"cpu"``, torch elsewhere.

    Raises
    ------
    OptionError
        When there are not two different training geometries.

    Attributes
    ----------
    typical_distance
        ``ℓ``, in the kernel's features.
    """

    def __init__(self, parameters: FeatureParameters, device: str) -> None:
        self._device = torch.device(device)
        self._descriptor = parameters.descriptor(self._device)
        on_cpu = self._device.type == "cpu"
        self._map = parameters.feature_map if on_cpu else parameters.feature_map.on(self._device)
        self._first = native(self._descriptor.first_atoms)
        self._second = native(self._descriptor.second_atoms)
        descriptors = native(self._tensor(parameters.training_descriptors))
        features = self._map.values(descriptors)
        self._squares = (features * features).sum(axis=1)
        self._n_permutations = len(parameters.feature_permutations)
        self._classes = [
            _make_class(c, features) for c in feature_classes(parameters.feature_permutations)
        ]
        self._tile = max(1, TILE_ELEMENTS // (self._n_permutations * len(features)))
        self.typical_distance = self._usual_distance(features)

    def __call__(self, positions: Tensor) -> Tensor:
        """Return the signal ``(B,)`` at positions ``(B, N, 3)`` in Å."""
        if self._descriptor.cell is None:
            array = native(positions)
            separations = take(array, self._first) - take(array, self._second)
            distances = (separations * separations).sum(axis=2) ** 0.5
            features = self._descriptor.function.value(distances)
        else:
            features = native(self._descriptor.values(positions))
        queries = self._map.values(features)
        if len(queries) <= self._tile:
            return self._nearest(queries)
        pieces = range(0, len(queries), self._tile)
        return torch.cat([self._nearest(queries[start : start + self._tile]) for start in pieces])

    def _nearest(self, queries: Array) -> Tensor:
        squared = self._squared(queries)
        nearest = squared.amin(1) if namespace(queries) is torch else squared.min(axis=1)
        # the expansion of a square may round to just below zero
        return tensor(abs(nearest) ** 0.5 / self.typical_distance)

    def _squared(self, queries: Array) -> Array:
        """Return squared distances ``(B, M)`` to the nearest copies of all training geometries."""
        products: Array = None
        for c in self._classes:
            permuted = take(queries, c.query_columns).reshape(-1, len(c.features_t))
            part = (permuted @ c.features_t).reshape(len(queries), c.n_actions, -1)
            if c.n_actions not in (1, self._n_permutations):
                part = take(part, c.action_of_permutation)
            products = part if products is None else products + part
        largest = products[:, 0]
        if products.shape[1] > 1:
            largest = products.amax(1) if namespace(queries) is torch else products.max(axis=1)
        return (queries * queries).sum(axis=1)[:, None] + (self._squares - 2.0 * largest)

    def _usual_distance(self, features: Array) -> float:
        """Return ``ℓ``: a quantile of the training geometries' distances from all others."""
        chosen = np.unique(np.linspace(0, len(features) - 1, MOST_COMPARED).round().astype(int))
        nearest: list[AnyArray] = []
        for start in range(0, len(chosen), self._tile):
            some = chosen[start : start + self._tile]
            squared = host(self._squared(features[index_array(some, features)])).copy()
            squared[np.arange(len(some)), some] = np.inf
            nearest.append(squared.min(axis=1))
        distance = math.sqrt(np.quantile(np.concatenate(nearest).clip(min=0.0), QUANTILE))
        if not 0.0 < distance < np.inf:
            raise OptionError(
                "How new a geometry is, is measured by the distances among the training "
                f"geometries, but there are no two different ones among {len(features)}."
            )
        return distance

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.tensor(array, dtype=torch.float64, device=self._device)


def _make_class(c: FeatureClass, features: Array) -> _Class:
    own = take(features, index_array(c.features, features))
    return _Class(
        index_array(c.actions.ravel(), features),
        c.n_actions,
        index_array(c.action_of_permutation, features),
        own.T if isinstance(own, Tensor) else np.ascontiguousarray(own.T),
    )
