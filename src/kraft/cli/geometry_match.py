"""Whether a file of geometries is of the molecule that a model knows, in its order of atoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kraft.cli.summary import counted, print_notices, print_warning
from kraft.core.errors import GeometryError
from kraft.core.typing import FloatArray
from kraft.data.geometry_format import Geometries
from kraft.models import ForceField
from kraft.models.molecule_match import check_elements, check_order

MAX_ORDER_CHECKS = 20
"""Frames whose order of atoms is looked at."""


def check_match(
    force_field: ForceField, frames: Geometries, source: Path, *, any_order: bool
) -> None:
    """Raise unless the geometries are the model's molecule; look at some frames for the order.

    Raises
    ------
    GeometryError
        When they are not; the message names the file and says what to do.
    """
    try:
        check_elements(force_field, frames.atomic_numbers, frames.positions[0])
        some = np.unique(np.linspace(0, len(frames) - 1, MAX_ORDER_CHECKS).astype(np.int64))
        for frame in () if any_order else some:
            check_order(force_field, frames.positions[frame])
    except GeometryError as error:
        advice = str(error).replace("(check_order=False)", "with --any-order")
        raise GeometryError(f"{source.name}: {advice}") from error
    model_cell = force_field.parameters.cell
    if (model_cell is None) != (frames.cell is None):
        print_notices(
            [
                f"{source.name} is {'not ' if frames.cell is None else ''}periodic, the model is "
                f"{'not' if model_cell is None else 'periodic'}; the model's cell counts."
            ]
        )


def warn_of_far_starts(
    force_field: ForceField, starts: FloatArray, source: Path, max_novelty: float
) -> None:
    """Warn of starts ``(S, N, 3)`` that the model does not know, in a wrong unit for example."""
    novelty = force_field.novelty(starts) if len(starts) else np.zeros(0)
    far = int((novelty > max_novelty).sum())
    if far:
        print_warning(
            f"{far} of {counted(len(novelty), 'start')} in {source.name} is unlike all training "
            f"geometries: novelty up to {novelty.max():.2f}, beyond {max_novelty:g}. If positions "
            "are not in Å, give their --length-unit."
        )
