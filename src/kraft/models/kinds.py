"""The kinds of models, and what differs between them: the one place that tells them apart."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from kraft.core.progress import Progress
from kraft.models.aff.evaluator import AtomizedEvaluator
from kraft.models.aff.parameters import AtomizedParameters
from kraft.models.aff.uncertainty import AtomizedUncertainty
from kraft.models.evaluator import EnergiesForces, Evaluator
from kraft.models.parameters import Parameters
from kraft.models.uncertainty.base import UncertaintyModel, UncertaintyOptions
from kraft.models.uncertainty.choice import uncertainty_model

AnyParameters = Parameters | AtomizedParameters
"""What a force field of any kind consists of."""


class ModelEvaluator(Protocol):
    """Energies and forces of many geometries at once."""

    def __call__(self, positions: Tensor) -> EnergiesForces:
        """Return energies and forces of positions ``(B, N, 3)`` in Å."""
        ...


class MakeEvaluator(Protocol):
    """Makes the tensors of a model on a device, in a precision of the kernel expansion."""

    def __call__(self, parameters: Any, device: str, dtype: torch.dtype, /) -> ModelEvaluator:
        """Return the evaluator."""
        ...


class MakeUncertainty(Protocol):
    """Prepares the uncertainty of a model on a device."""

    def __call__(
        self, parameters: Any, options: UncertaintyOptions, device: str, progress: Progress, /
    ) -> UncertaintyModel:
        """Return the uncertainty."""
        ...


class KnowsEnergies(Protocol):
    """Tells whether a model's energies are those of its reference data."""

    def __call__(self, parameters: Any, /) -> bool:
        """Return False where energies are known up to a constant only."""
        ...


@dataclass(frozen=True)
class Kind:
    """What one kind of model does in its own way.

    Attributes
    ----------
    name
        In model files and on the command line.
    label
        For people.
    conservative
        Whether forces are exactly the negative gradient of the energy.
    evaluator, uncertainty, knows_energies
        What is made of its parameters.
    hessian
        Second derivatives of the energy at ``(N, 3)`` from the evaluator; None without any.
    """

    name: str
    label: str
    conservative: bool
    evaluator: MakeEvaluator
    uncertainty: MakeUncertainty
    knows_energies: KnowsEnergies
    hessian: Callable[[Any, Tensor], Tensor] | None = None


def _energy_offset_is_known(parameters: Parameters) -> bool:
    record = parameters.record
    return record.energy_offset_scatter is not None or parameters.energy_offset != 0.0


def _atomized_uncertainty(
    parameters: AtomizedParameters, options: UncertaintyOptions, device: str, _: Progress, /
) -> UncertaintyModel:
    return AtomizedUncertainty(parameters, options, device)


def _has_training_energies(parameters: AtomizedParameters) -> bool:
    return parameters.training_energies is not None


SGDML = Kind(
    "sgdml",
    "sGDML",
    conservative=True,
    evaluator=Evaluator,
    uncertainty=uncertainty_model,
    knows_energies=_energy_offset_is_known,
    hessian=Evaluator.hessian,
)
"""One Gaussian process of the energy, learned from forces (papers 002 and 000)."""

AFF = Kind(
    "aff",
    "AFF",
    conservative=False,
    evaluator=AtomizedEvaluator,
    uncertainty=_atomized_uncertainty,
    knows_energies=_has_training_energies,
)
"""One Gaussian process of the forces of each set of equivalent atoms (paper 001)."""

_KINDS: Mapping[type, Kind] = {Parameters: SGDML, AtomizedParameters: AFF}


def kind_of(parameters: AnyParameters) -> Kind:
    """Return the kind of a model from what it consists of."""
    return _KINDS[type(parameters)]


def fingerprint(parameters: AnyParameters) -> str:
    """Return a fingerprint of what decides the predictions of a model."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(parameters):
        value = getattr(parameters, field.name)
        if isinstance(value, np.ndarray):
            digest.update(field.name.encode() + np.ascontiguousarray(value).tobytes())
        elif isinstance(value, (str, float)):
            digest.update(f"{field.name}={value!r}".encode())
    return digest.hexdigest()[:16]
