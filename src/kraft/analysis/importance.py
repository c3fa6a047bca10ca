"""How much every feature matters to a force field (paper 003, eq. 4).

The importance of a feature is what masking it changes: forces of the model with the feature set to
zero in the query and in all training geometries, every coefficient kept, less those without,
squared and summed over frames,

    L_n = Σ_i |F(x_i) - F_n(x_i)|².

In a symmetric model equivalent features are masked together, whole orbits of the permutation
group: a permuted copy of a training geometry has another member of the orbit in the place of the
feature, so masking one alone would leave a model without the molecule's symmetries, which no
reduced descriptor can have. ``orbit_losses`` are eq. 4 for whole orbits; the ``losses`` of features
are equal shares of these, by which orbits of different size are compared: what is lost by each
feature that is removed. Without permutations, as in the paper, both are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike

from kraft.analysis.masking import MaskedForces
from kraft.core.errors import OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry import pair_distances
from kraft.models.evaluator import Evaluator
from kraft.models.force_field import ForceField
from kraft.models.query import checked_positions, not_finite
from kraft.symmetry.orbits import feature_orbit_labels, kept_pairs

STAGE = "importance"


@dataclass(frozen=True, eq=False)
class FeatureImportance:
    """Importance of every feature of a model.

    Attributes
    ----------
    n_atoms
        Number of atoms ``N``.
    features
        ``(D,)`` the model's features, counted among all pairs in the order of
        ``numpy.triu_indices(N, 1)``.
    labels
        ``(D,)`` orbit, ``0 .. O-1``, of each feature.
    orbit_losses
        ``(O,)`` eq. 4 of paper 003 for each orbit, in (eV/Å)².
    mean_distances, largest_distances
        ``(D,)`` over the frames and over each feature's orbit, in Å.
    n_frames
        Frames that were summed over.
    """

    n_atoms: int
    features: IntArray
    labels: IntArray
    orbit_losses: FloatArray
    mean_distances: FloatArray
    largest_distances: FloatArray
    n_frames: int

    @cached_property
    def orbit_sizes(self) -> IntArray:
        """``(O,)`` number of features of each orbit."""
        return np.bincount(self.labels, minlength=len(self.orbit_losses)).astype(np.int64)

    @cached_property
    def losses(self) -> FloatArray:
        """``(D,)`` share of each feature in the loss of its orbit, in (eV/Å)²."""
        shares: FloatArray = (self.orbit_losses / self.orbit_sizes)[self.labels]
        return shares

    @property
    def force_changes(self) -> FloatArray:
        """``(D,)`` the same as root mean squares over frames and force components, in eV/Å."""
        changes: FloatArray = np.sqrt(self.losses / (3 * self.n_atoms * self.n_frames))
        return changes

    @property
    def pairs(self) -> IntArray:
        """``(D, 2)`` the atoms of each feature."""
        return np.stack(kept_pairs(self.n_atoms, self.features), axis=1)

    @property
    def orbits(self) -> tuple[IntArray, ...]:
        """Places ``(D_o,)`` of the features of each orbit among those of the model."""
        return tuple(np.flatnonzero(self.labels == o) for o in range(len(self.orbit_losses)))

    @property
    def ascending(self) -> IntArray:
        """``(O,)`` orbits from the least important to the most, by the share of a feature."""
        return np.argsort(self.orbit_losses / self.orbit_sizes, kind="stable").astype(np.int64)


def feature_importance(
    force_field: ForceField, positions: ArrayLike, *, progress: Progress = silent
) -> FeatureImportance:
    """Measure the importance of all features in one pass.

    Where the metric mixes features, a feature of the kernel counts as that of the distance that it
    would be without mixing. For each frame and orbit this takes about ``12 N`` operations a
    training geometry and permutation (less with many permutations), where a prediction takes
    ``8 D``.

    Parameters
    ----------
    force_field
        An sGDML model; it need not be an accurate one (paper 003, SI). Computed on its device, in
        float64.
    positions
        ``(B, N, 3)`` representative geometries in Å, best ones it was not trained on; a hundred
        are plenty, ten nearly enough.
    progress
        Told about frames.

    Raises
    ------
    GeometryError
        When the shape does not fit the molecule, a position is not finite or atoms coincide.
    OptionError
        When the model is an atomized one.

    Examples
    --------
    See ``docs/reduction.md``.
    """
    evaluator = force_field.evaluator
    if not isinstance(evaluator, Evaluator):
        raise OptionError(
            f"Expected an sGDML model, got one of the kind {force_field.kind.label}: it is not one "
            "kernel of one descriptor whose features could be masked. Train an sGDML model."
        )
    parameters = evaluator.parameters
    frames = checked_positions(positions, parameters.n_atoms)
    frames = frames.reshape(-1, parameters.n_atoms, 3)
    labels = feature_orbit_labels(parameters.permutations, parameters.features)
    distances = _distances(frames, parameters.cell, parameters.features)
    total = np.zeros(int(labels.max()) + 1)
    with torch.inference_mode():
        masked = MaskedForces(evaluator, labels)
        changes = masked.changes(torch.from_numpy(frames).to(force_field.device))
        for index, change in enumerate(changes):
            progress(STAGE, index, len(frames))
            loss = change.square().sum(dim=1).cpu().numpy()
            if not np.isfinite(loss).all():
                raise not_finite(frames, index)
            total += loss
    progress(STAGE, len(frames), len(frames))
    sizes = np.bincount(labels)
    largest = np.zeros(len(total))
    np.maximum.at(largest, labels, distances.max(axis=0))
    features = parameters.features
    return FeatureImportance(
        n_atoms=parameters.n_atoms,
        features=np.arange(parameters.n_pairs) if features is None else features,
        labels=labels,
        orbit_losses=total,
        mean_distances=(np.bincount(labels, distances.mean(axis=0)) / sizes)[labels],
        largest_distances=largest[labels],
        n_frames=len(frames),
    )


def _distances(
    positions: FloatArray, cell: FloatArray | None, features: IntArray | None
) -> FloatArray:
    """Return the distances ``(B, D)`` of the kept pairs in Å."""
    distances = pair_distances(positions, cell)
    return distances if features is None else distances[:, features]
