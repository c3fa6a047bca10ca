"""The variables of a metric: weights of features and how they mix, equal where symmetry says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kraft.core.typing import FloatArray, IntArray

NOT_MIXED = -1
"""Label of pairs of features that do not mix: a feature with itself."""


@dataclass(frozen=True, eq=False)
class MetricVariables:
    """A point ``(θ, b, ln λ)`` and the metric it stands for (`docs/theory.md`, eqs. 22 and 28).

    The kernel features are ``z = C e^θ x``, with one ``θ`` for each orbit of features, and
    ``C = 1 + Σ_p σ_p b_p E_p`` with one ``b`` for each orbit ``p`` of pairs of features.

    Attributes
    ----------
    orbits
        ``(D,)`` number of the orbit of each feature.
    pairs
        ``(D, D)`` number of the orbit of each pair of features, :data:`NOT_MIXED` on the diagonal;
        None where nothing mixes.
    deviations
        ``(P,)`` standard deviations ``σ`` that the prior expects of the entries of ``C``.
    """

    orbits: IntArray
    pairs: IntArray | None
    deviations: FloatArray

    @property
    def n_orbits(self) -> int:
        """Number of orbits of features."""
        return int(self.orbits.max()) + 1

    @property
    def n_pairs(self) -> int:
        """Number of orbits of pairs that mix."""
        return len(self.deviations)

    @property
    def size(self) -> int:
        """Number of variables."""
        return self.n_orbits + self.n_pairs + 1

    def without_mixing(self) -> MetricVariables:
        """Return the variables of the weights alone."""
        return MetricVariables(self.orbits, None, np.empty(0))

    def extended(self, point: FloatArray) -> FloatArray:
        """Return a point as it is or, where it has the weights alone, without any mixing."""
        if len(point) == self.size:
            return point
        return np.insert(point, self.n_orbits, np.zeros(self.n_pairs))

    def scale(self, point: FloatArray) -> FloatArray:
        """Return the factors ``e^θ`` ``(D,)`` of the features."""
        factors: FloatArray = np.exp(point[: self.n_orbits])[self.orbits]
        return factors

    def mixing(self, point: FloatArray) -> FloatArray | None:
        """Return ``C`` ``(D, D)``; None where nothing mixes."""
        if self.pairs is None:
            return None
        entries = np.append(self.deviations * self._mixed(point), 1.0)  # 1 for NOT_MIXED
        mixing: FloatArray = entries[self.pairs]
        return mixing

    def derivatives(self, point: FloatArray, by_mixing: FloatArray) -> FloatArray:
        """Return the derivatives by ``(θ, b)`` from those by ``C`` as a general matrix ``(D, D)``.

        The matrix acts on both geometries of a covariance (`docs/theory.md`, eq. 22).
        """
        mixing = self.mixing(point)
        own = by_mixing.diagonal() if mixing is None else (mixing * by_mixing).sum(axis=0)
        gradient = np.bincount(self.orbits, own, self.n_orbits).astype(np.float64)
        if self.pairs is None:
            return gradient
        labels, entries = self.pairs.ravel() + 1, by_mixing.ravel()
        summed = np.bincount(labels, entries, self.n_pairs + 1)[1:]
        return np.concatenate([gradient, self.deviations * summed])

    def prior(self, point: FloatArray, deviation: float) -> tuple[float, FloatArray]:
        """Return minus the log density of the prior, up to a constant, and its derivatives.

        The ``θ`` are normal about their mean with this deviation, the ``b`` about zero with one
        (`docs/theory.md`, eq. 24).
        """
        weights, mixed = point[: self.n_orbits], self._mixed(point)
        deviations = (weights - weights.mean()) / deviation
        value = 0.5 * float(deviations @ deviations + mixed @ mixed)
        return value, np.concatenate([deviations / deviation, mixed])

    def _mixed(self, point: FloatArray) -> FloatArray:
        return point[self.n_orbits : self.n_orbits + self.n_pairs]


def orbit_labels(feature_permutations: IntArray) -> IntArray:
    """Return ``(D,)`` labels 0, 1, ... of the orbits of features under a group ``(S, D)``.

    >>> orbit_labels(np.array([[0, 1, 2], [0, 2, 1]])).tolist()
    [0, 1, 1]
    """
    smallest = np.asarray(feature_permutations).min(axis=0)  # of a group, all images are in it
    labels: IntArray = np.unique(smallest, return_inverse=True)[1].reshape(-1)
    return labels.astype(np.int64)


def pair_labels(feature_permutations: IntArray) -> IntArray:
    """Return ``(D, D)`` labels of the orbits of unordered pairs of different features.

    >>> pair_labels(np.array([[0, 1, 2], [0, 2, 1]])).tolist()
    [[-1, 0, 0], [0, -1, 1], [0, 1, -1]]
    """
    table = np.asarray(feature_permutations)
    n_features = table.shape[1]
    smallest = np.full((n_features, n_features), n_features**2, dtype=np.int64)
    for images in table:
        one, other = images[:, None], images[None, :]
        code = np.minimum(one, other) * n_features + np.maximum(one, other)
        np.minimum(smallest, code, out=smallest)
    labels = np.full_like(smallest, NOT_MIXED)
    different = ~np.eye(n_features, dtype=bool)
    labels[different] = np.unique(smallest[different], return_inverse=True)[1].reshape(-1)
    return labels
