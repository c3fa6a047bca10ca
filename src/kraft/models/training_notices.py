"""Sentences about a training that a person should read."""

from __future__ import annotations

import numpy as np
import torch

from kraft.data.dataset import Dataset
from kraft.descriptors import PairFeatures
from kraft.models.model_making import Made
from kraft.models.selection import Choice
from kraft.solvers import SolveOutcome

PAPERS_REGULARIZATION = 1e-10
FAR_ABOVE = 100.0
"""Factor over the regularization of the papers from which on a choice is worth a remark."""


def training_notices(
    training: Dataset,
    made: Made,
    choice: Choice,
    outcome: SolveOutcome,
    rounding_error: float,
    descriptor: PairFeatures,
) -> tuple[str, ...]:
    """Return everything about a training that a person should read."""
    caution = made.parameters.record.caution
    return (
        training.notices
        + made.notices
        + ((caution,) if caution else ())
        + blind_spot_notices(descriptor)
        + edge_notices(choice)
        + raised_notices(choice)
        + jitter_notices(outcome)
        + conditioning_notices(choice)
        + rounding_notices(rounding_error, training, made.valid_force_mae)
    )


def blind_spot_notices(descriptor: PairFeatures) -> tuple[str, ...]:
    """Tell which atoms and displacements a reduced descriptor does not see at all."""
    pairs = torch.cat([descriptor.first_atoms, descriptor.second_atoms])
    counts = torch.bincount(pairs, minlength=descriptor.n_atoms)
    unseen = torch.nonzero(counts == 0).flatten().tolist()
    if unseen:
        named = ", ".join(map(str, unseen))
        return (
            f"No feature that is kept has anything to do with atoms {named} (counted from 0): the "
            "model predicts no force on them, ever. Keep at least the features of near pairs.",
        )
    missing = descriptor.n_internal_motions - descriptor.jacobian_rank
    if missing <= 0:
        return ()
    return (
        f"The {descriptor.n_features} features kept are blind to {missing} of the "
        f"{descriptor.n_internal_motions} internal motions of the molecule: the model predicts no "
        "force along them, so dynamics may drift there. Keep more features, those of near pairs "
        "first.",
    )


def conditioning_notices(choice: Choice) -> tuple[str, ...]:
    """Tell when the data prefer a regularization far above that of the papers."""
    factor = choice.regularization / PAPERS_REGULARIZATION
    if choice.criterion == "given" or factor < FAR_ABOVE:
        return ()
    return (
        f"The regularization chosen, {choice.regularization:.1g}, is {factor:,.0f} times that of "
        "the papers (1e-10): the linear system is conditioned better by as much, and an iterative "
        "solution takes fewer steps.",
    )


def edge_notices(choice: Choice) -> tuple[str, ...]:
    """Tell which hyper-parameters ended at the edge of the range searched."""
    return tuple(
        f"The {name} chosen lies at the edge of the range searched; the data may not determine it. "
        "Try another kernel or more training geometries, or set it yourself."
        for name in choice.at_edge
    )


def raised_notices(choice: Choice) -> tuple[str, ...]:
    """Tell when rounding made the training raise the regularization that was chosen."""
    if choice.raised_from is None:
        return ()
    return (
        f"The regularization chosen at first, {choice.raised_from:.1e}, is too small for rounding "
        f"in a system of so many labels, which could not be solved with it: it was raised "
        f"{choice.regularization / choice.raised_from:,.0f} times, to "
        f"{choice.regularization:.1e}. The model's errors may be larger than the choice promised.",
    )


def jitter_notices(outcome: SolveOutcome) -> tuple[str, ...]:
    """Tell when something was added to the diagonal beyond the regularization."""
    if outcome.jitter == 0.0:
        return ()
    return (
        f"Rounding made the kernel matrix indefinite, so {outcome.jitter:.1e} was added to its "
        "diagonal beyond the regularization: choose a larger one, or leave it to be chosen.",
    )


def rounding_notices(
    error: float, training: Dataset, valid_force_mae: float | None
) -> tuple[str, ...]:
    """Tell the error of single precision, and whether it spoils the model."""
    if error == 0.0:
        return ()
    limit = 0.01 * float(np.abs(training.forces).mean())
    if valid_force_mae is not None:
        limit = min(limit, 0.1 * valid_force_mae)
    units = training.units
    told = (
        f"In single precision the forces are off by {error / units.force_factor:.2g} "
        f"{units.force_label} on average"
    )
    if error < limit:
        return (f"{told}, little beside the model's own error.",)
    return (
        f"{told}, which is too much for this model: use double precision (--dtype float64), or a "
        "larger regularization.",
    )
