"""What the metric of an sGDML model says of its features: how much each moves it, what couples.

The kernel compares geometries by ``s² Δᵀ M Δ`` with the difference ``Δ`` of their features and
``M = w C² w`` (`docs/theory.md`, eq. 28). Of this matrix the following are shown:

- the *effective weight* ``√M_dd = w_d |C_:d|`` of a feature: how far the kernel features move when
  this one feature does. Without mixing it is the weight itself;
- its *own share* ``C_dd² / |C_:d|²``: how much of the squared movement is that of the kernel
  feature with the same number; the rest are shares in others;
- the *coupling* ``M_de / √(M_dd M_ee)`` of two features, between -1 and 1: with a positive one,
  geometries are farther apart when both features rise than when one rises and the other falls.

**What may be concluded.** A model learned weights such that the data become likely: the forces
change quickly with a distance whose effective weight is large, and slowly along a combination of
distances that couplings bring close to zero. A large weight does not mean that the forces change
*much* with the distance: one that hardly varies, or whose effect is small, can have a large weight.
That is what the importance by masking tells (:mod:`kraft.analysis.importance`), and the rank
correlation of both says how far weights can stand in for it. Distances depend on each other, so
weights of single ones are not unique in what they predict; those that the data do not settle stay
where the prior has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase.data import chemical_symbols
from scipy.stats import spearmanr

from kraft.analysis.importance import FeatureImportance
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.models.force_field import ForceField
from kraft.models.parameters import Parameters
from kraft.symmetry.orbits import feature_orbit_labels, kept_pairs

LEAST_COUPLING = 1e-12
"""Couplings below this are rounding."""


@dataclass(frozen=True)
class Coupling:
    """Two features that the metric couples.

    Attributes
    ----------
    one, other
        Places of the features among those of the model, ``one < other``; of all equivalent pairs
        the first.
    strength
        ``M_de / √(M_dd M_ee)``, between -1 and 1.
    n_equivalent
        Number of pairs of features that symmetries exchange with this one, itself included.
    """

    one: int
    other: int
    strength: float
    n_equivalent: int


@dataclass(frozen=True, eq=False)
class MetricMap:
    """Effective weights of the features of a model, and how they are coupled.

    Attributes
    ----------
    atomic_numbers
        ``(N,)``.
    features
        ``(D,)`` the model's features, counted among all pairs in the order of
        ``numpy.triu_indices(N, 1)``.
    feature_permutations
        ``(S, D)`` action of the permutation group on them.
    labels
        ``(D,)`` orbit, ``0 .. O-1``, of each feature.
    weights
        ``(D,)`` effective weights ``√M_dd``, without a unit, as the feature weights are; the
        kernel's scale and the length scale are not in them.
    own_shares
        ``(D,)`` share of each squared effective weight that stays with the kernel feature of the
        same number, 1 without mixing; NaN for a feature that is in no kernel feature.
    couplings
        ``(D, D)`` with a diagonal of ones, zero where a weight is; None where nothing mixes.
    mean_distances
        ``(D,)`` over the training geometries and over each feature's orbit, in Å.
    """

    atomic_numbers: IntArray
    features: IntArray
    feature_permutations: IntArray
    labels: IntArray
    weights: FloatArray
    own_shares: FloatArray
    couplings: FloatArray | None
    mean_distances: FloatArray

    @cached_property
    def pairs(self) -> IntArray:
        """``(D, 2)`` the atoms of each feature."""
        return np.stack(kept_pairs(len(self.atomic_numbers), self.features), axis=1)

    @property
    def matrix(self) -> FloatArray:
        """``(N, N)`` effective weights by atoms; NaN where there is no feature."""
        n_atoms = len(self.atomic_numbers)
        matrix = np.full((n_atoms, n_atoms), np.nan)
        first, second = self.pairs.T
        matrix[first, second] = matrix[second, first] = self.weights
        return matrix

    @cached_property
    def representatives(self) -> IntArray:
        """``(O,)`` the first feature of each orbit."""
        return np.unique(self.labels, return_index=True)[1].astype(np.int64)

    @property
    def equal(self) -> bool:
        """Whether all effective weights are the same."""
        return bool(np.ptp(self.weights) <= 1e-12 * self.weights.max())

    def name(self, feature: int) -> str:
        """Return the atoms of a feature, for example ``O2-H3``, counted from 0."""
        atoms = self.pairs[feature]
        return "-".join(f"{chemical_symbols[self.atomic_numbers[atom]]}{atom}" for atom in atoms)

    def strongest_couplings(self, count: int = 5) -> tuple[Coupling, ...]:
        """Return the strongest couplings by absolute value, one of each orbit of pairs."""
        if self.couplings is None:
            return ()
        one, other = np.triu_indices(len(self.weights), 1)
        sizes = np.abs(self.couplings[one, other])
        found: list[Coupling] = []
        seen: set[tuple[int, int]] = set()
        for place in np.argsort(-sizes, kind="stable"):
            if len(found) == count or sizes[place] <= LEAST_COUPLING:
                break
            if (int(one[place]), int(other[place])) in seen:
                continue
            images = np.sort(self.feature_permutations[:, [one[place], other[place]]], axis=1)
            orbit = sorted({(int(d), int(e)) for d, e in images})
            seen.update(orbit)
            first, second = orbit[0]
            strength = float(self.couplings[first, second])
            found.append(Coupling(first, second, strength, len(orbit)))
        return tuple(found)


def metric_map(force_field: ForceField) -> MetricMap:
    """Return effective weights and couplings of the features of an sGDML model.

    See the text above (:mod:`kraft.analysis.metric`) for what they are and what may be concluded.

    Raises
    ------
    OptionError
        When the model is an atomized one, whose features have equal weights.

    Examples
    --------
    See ``docs/metric.md``.
    """
    parameters = force_field.parameters
    if not isinstance(parameters, Parameters):
        raise OptionError(
            f"Expected an sGDML model, got one of the kind {force_field.kind.label}, whose "
            "features have equal weights: there is no metric to show. Train an sGDML model."
        )
    weights, mixing = parameters.feature_weights, parameters.feature_mixing
    own, couplings = np.ones_like(weights), None
    if mixing is not None:
        squared = mixing.T @ mixing
        lengths = np.sqrt(squared.diagonal())
        with np.errstate(invalid="ignore"):
            own = (mixing.diagonal() / lengths) ** 2
        couplings = _couplings(squared, lengths, np.sign(weights))
        weights = weights * lengths
    labels = feature_orbit_labels(parameters.permutations, parameters.features)
    distances = parameters.descriptor().function.distance(parameters.training_descriptors)
    means = np.bincount(labels, distances.mean(axis=0)) / np.bincount(labels)
    features = parameters.features
    return MetricMap(
        atomic_numbers=parameters.atomic_numbers,
        features=np.arange(parameters.n_pairs) if features is None else features,
        feature_permutations=parameters.feature_permutations,
        labels=labels,
        weights=np.abs(weights),
        own_shares=own,
        couplings=couplings,
        mean_distances=means[labels],
    )


def _couplings(squared: FloatArray, lengths: FloatArray, signs: FloatArray) -> FloatArray:
    """Return ``M_de / √(M_dd M_ee)`` of ``C²``, in which the sizes of weights cancel."""
    inverse = np.divide(signs, lengths, out=np.zeros_like(lengths), where=lengths > 0.0)
    couplings: FloatArray = inverse[:, None] * squared * inverse
    np.fill_diagonal(couplings, 1.0)
    return couplings


@dataclass(frozen=True, eq=False)
class WeightsAndImportance:
    """Effective weights beside the importance by masking, a feature of each orbit.

    Attributes
    ----------
    features
        ``(O,)`` places of the features among those of the model.
    weights
        ``(O,)`` effective weights.
    force_changes
        ``(O,)`` root mean square changes of the forces by masking, in eV/Å.
    n_frames
        Frames that importance was measured on.
    rank_correlation
        Spearman's, over orbits; None where it does not exist: fewer than three orbits, or all
        weights or all importances equal.
    """

    features: IntArray
    weights: FloatArray
    force_changes: FloatArray
    n_frames: int
    rank_correlation: float | None


def compare_with_importance(
    metric: MetricMap, importance: FeatureImportance
) -> WeightsAndImportance:
    """Compare the effective weights of features with their importance by masking.

    Where the metric mixes, the weight is that of a distance in all kernel features, while
    importance is that of the one kernel feature with the same number, in which that distance
    prevails as a rule.

    Raises
    ------
    OptionError
        When the importance is that of other features or other symmetries.
    """
    n_atoms = len(metric.atomic_numbers)
    if not (
        importance.n_atoms == n_atoms
        and np.array_equal(importance.features, metric.features)
        and np.array_equal(importance.labels, metric.labels)
    ):
        raise OptionError(
            f"Expected the importance of the model's own {len(metric.features)} features in "
            f"{len(metric.representatives)} orbits, got that of {len(importance.features)} in "
            f"{len(importance.orbit_losses)}. Measure it with this model."
        )
    chosen = metric.representatives
    weights, changes = metric.weights[chosen], importance.force_changes[chosen]
    constant = metric.equal or np.ptp(changes) == 0.0
    correlation = None
    if len(chosen) > 2 and not constant:
        correlation = float(spearmanr(weights, changes).statistic)
    return WeightsAndImportance(chosen, weights, changes, importance.n_frames, correlation)
