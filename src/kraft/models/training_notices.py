"""Sentences about a training that a person should read."""

from __future__ import annotations

import numpy as np

from kraft.data.dataset import Dataset
from kraft.models.selection import Choice


def edge_notices(choice: Choice) -> tuple[str, ...]:
    """Tell which hyper-parameters ended at the edge of the range searched."""
    return tuple(
        f"The {name} chosen lies at the edge of the range searched; the data may not determine it. "
        "Try another kernel or more training geometries, or set it yourself."
        for name in choice.at_edge
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
