"""Masks by the class of features they lie in, and what the permutations of a class span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import FloatArray, IntArray
from kraft.kernels.feature_classes import FeatureClass, feature_classes

_INDEPENDENT = 1e-10
"""Singular values of the group's basis relative to the largest; below, they are rounding."""


@dataclass(frozen=True, eq=False)
class MaskClass:
    """A class of features with the masks, whole orbits, that lie in it.

    Attributes
    ----------
    features
        ``(D_c,)`` its features, mask by mask.
    actions
        ``(S_c, D_c)`` the feature of the query that takes each place.
    action_of_permutation
        ``(S,)`` which action each permutation has.
    permutations
        ``(S_c, S/S_c)`` the permutations with each action.
    masks
        ``(O_c,)`` numbers of the masks.
    mask_of_feature
        ``(D_c,)`` the place of each feature's mask in ``masks``, rising.
    components
        ``(S_c, r)`` what each action adds to the components of the group's basis.
    basis
        ``(S_c, r, S/S_c)`` the basis at the permutations with each action.
    """

    features: Tensor
    actions: Tensor
    action_of_permutation: Tensor
    permutations: Tensor
    masks: Tensor
    mask_of_feature: Tensor
    components: Tensor
    basis: Tensor

    @property
    def n_actions(self) -> int:
        """Number ``S_c`` of actions."""
        return len(self.actions)

    def sum_features(self, values: Tensor) -> Tensor:
        """Return values ``(S_c, D_c, m)`` of features summed over each mask, ``(S_c, O_c, m)``."""
        if len(self.masks) == len(self.features):
            return values
        shape = (self.n_actions, len(self.masks), values.shape[2])
        return values.new_zeros(shape).index_add_(1, self.mask_of_feature, values)

    def of_permutations(self, values: Tensor) -> Tensor:
        """Return values ``(S_c, ...)`` of the actions for every permutation, ``(S, ...)``."""
        if len(self.action_of_permutation) == 1:
            return values
        return values.index_select(0, self.action_of_permutation)

    def sum_permutations(self, values: Tensor) -> Tensor:
        """Return values ``(S, ...)`` summed over the permutations with each action."""
        if len(self.action_of_permutation) == 1:
            return values
        summed = values.new_zeros(self.n_actions, *values.shape[1:])
        return summed.index_add_(0, self.action_of_permutation, values)


def mask_classes(
    feature_permutations: IntArray, labels: IntArray, device: torch.device
) -> tuple[Tensor, list[MaskClass]]:
    """Return the group's basis ``(r, S)`` and the classes of the masks.

    Parameters
    ----------
    feature_permutations
        ``(S, D)``.
    labels
        ``(D,)`` the orbit, ``0 .. O-1``, of each feature.
    device
        Of the tensors.
    """
    classes = feature_classes(feature_permutations, pass_cost=-1.0)
    basis, components = _group_basis(classes, len(feature_permutations))
    found = [
        _class(c, labels, part, basis, device) for c, part in zip(classes, components, strict=True)
    ]
    return torch.tensor(basis, device=device), found


def _class(
    c: FeatureClass,
    labels: IntArray,
    components: FloatArray,
    basis: FloatArray,
    device: torch.device,
) -> MaskClass:
    order = np.argsort(labels[c.features], kind="stable")
    masks, mask_of_feature = np.unique(labels[c.features[order]], return_inverse=True)
    alike = np.argsort(c.action_of_permutation, kind="stable").reshape(c.n_actions, -1)

    def indices(array: IntArray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.long, device=device)

    return MaskClass(
        features=indices(c.features[order]),
        actions=indices(c.actions[:, order]),
        action_of_permutation=indices(c.action_of_permutation),
        permutations=indices(alike),
        masks=indices(masks),
        mask_of_feature=indices(mask_of_feature.reshape(-1)),
        components=torch.tensor(components, device=device),
        basis=torch.tensor(basis[:, alike].transpose(1, 0, 2).copy(), device=device),
    )


def _group_basis(
    classes: tuple[FeatureClass, ...], n_permutations: int
) -> tuple[FloatArray, list[FloatArray]]:
    """Return few functions on the group that span all that depend on a class's action only.

    Returns
    -------
    basis
        ``(r, S)`` orthonormal.
    components
        For each class ``(S_c, r)``: the indicators of its actions in that basis.
    """
    indicators = [
        (c.action_of_permutation == np.arange(c.n_actions)[:, None]).astype(np.float64)
        for c in classes
    ]
    if n_permutations == 1:
        return np.ones((1, 1)), indicators
    _, values, right = np.linalg.svd(np.concatenate(indicators), full_matrices=False)
    basis: FloatArray = right[values > _INDEPENDENT * values[0]]
    return basis, [indicator @ basis.T for indicator in indicators]
