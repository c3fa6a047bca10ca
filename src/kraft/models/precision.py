"""What single precision costs a force field, measured rather than believed.

Training at a small regularization leads to large coefficients whose contributions cancel, and with
them the digits of float32. How many are left depends on the model.
"""

from __future__ import annotations

import numpy as np
import torch

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray
from kraft.models.kinds import AnyParameters, kind_of

N_GEOMETRIES = 16
UNUSABLE = 0.05
"""Rounding error of the forces, relative to their spread, above which a model is refused."""


def rounding_error(parameters: AnyParameters, device: str, positions: FloatArray) -> float:
    """Return the mean absolute force error of float32 at positions ``(B, N, 3)``, in eV/Å."""
    return _compare(parameters, device, positions)[0]


def require_precision(parameters: AnyParameters, device: str) -> None:
    """Raise OptionError when float32 predictions at training geometries are mostly noise.

    Models that do not know their training positions are not checked.
    """
    if parameters.training_positions is None:
        return
    error, spread = _compare(parameters, device, parameters.training_positions[:N_GEOMETRIES])
    if not error <= UNUSABLE * spread:
        raise OptionError(
            f"In float32 this model's forces would be off by {error:.2g} eV/Å on average, where "
            f"their spread is {spread:.2g} eV/Å. Its coefficients are large and cancel: use "
            "float64, or train with a larger regularization."
        )


def _compare(parameters: AnyParameters, device: str, positions: FloatArray) -> tuple[float, float]:
    """Return mean deviation and spread of the forces."""
    some = torch.tensor(np.asarray(positions), dtype=torch.float64, device=device)
    with torch.inference_mode():
        single, double = (
            kind_of(parameters).evaluator(parameters, device, dtype)(some).forces
            for dtype in (torch.float32, torch.float64)
        )
        return float((single - double).abs().mean()), float(double.square().mean().sqrt())
