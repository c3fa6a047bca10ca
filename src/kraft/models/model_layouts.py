"""What the model file holds for each kind of model, beside what all kinds have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kraft.core.typing import AnyArray
from kraft.descriptors import checked_mixing
from kraft.descriptors.feature_functions import INVERSE, feature_function
from kraft.models.aff.parameters import AtomizedParameters
from kraft.models.kinds import AFF, SGDML, AnyParameters
from kraft.models.parameters import Parameters, descriptors_and_coefficients

Arrays = dict[str, AnyArray]

_GEOMETRIES = ("training_positions", "coefficients")
_DESCRIPTORS = ("training_descriptors", "feature_coefficients")
_ATOMIZED = ("training_positions", "coefficients", "set_variances")
_ENERGY_SCALARS = ("energy_length_scale", "energy_regularization", "energy_mean", "energy_offset")


@dataclass(frozen=True)
class Layout:
    """Entries of one kind of model.

    Attributes
    ----------
    scalars
        Attributes in the metadata.
    defaults
        Attributes in the metadata that are left out where they have this value.
    arrays
        Attributes that are arrays; those that are None are left out.
    parameters
        Makes the parameters from arrays, metadata and what all kinds have.
    """

    scalars: tuple[str, ...]
    arrays: Callable[[Any], tuple[str, ...]]
    parameters: Callable[..., AnyParameters]
    defaults: Mapping[str, Any] = field(default_factory=dict)


def _sgdml_arrays(parameters: Parameters) -> tuple[str, ...]:
    known = parameters.training_positions is not None and parameters.coefficients is not None
    return (
        "energy_coefficients",
        "features",
        "feature_mixing",
        *(_GEOMETRIES if known else _DESCRIPTORS),
    )


def _sgdml(arrays: Arrays, content: Mapping[str, Any], **common: Any) -> Parameters:
    positions = coefficients = None
    features, function = arrays.get("features"), content.get("feature_function", INVERSE.name)
    feature_function(function)
    if all(name in arrays for name in _GEOMETRIES):
        positions, coefficients = (arrays[name] for name in _GEOMETRIES)
        descriptors, products = descriptors_and_coefficients(
            positions, coefficients, common["cell"], features, function
        )
    else:
        descriptors, products = (arrays[name] for name in _DESCRIPTORS)
    weight = content.get("energy_weight")  # files of version 1 do not have it
    parameters = Parameters(
        length_scale=float(content["length_scale"]),
        regularization=float(content["regularization"]),
        energy_offset=float(content["energy_offset"]),
        training_descriptors=descriptors,
        feature_coefficients=products,
        energy_coefficients=arrays.get("energy_coefficients"),
        energy_weight=None if weight is None else float(weight),
        training_positions=positions,
        coefficients=coefficients,
        features=features,
        feature_mixing=arrays.get("feature_mixing"),
        feature_function=function,
        **common,
    )
    checked_mixing(parameters.feature_mixing, parameters.feature_permutations)
    return parameters


def _atomized_arrays(_: AtomizedParameters) -> tuple[str, ...]:
    return (*_ATOMIZED, "training_energies")


def _atomized(arrays: Arrays, content: Mapping[str, Any], **common: Any) -> AtomizedParameters:
    if {"features", "feature_mixing"} & arrays.keys() or "feature_function" in content:
        raise ValueError(
            "an AFF model has the inverse distances of all pairs, one by one, but it names others"
        )
    variance = content["energy_variance"]
    return AtomizedParameters(
        length_scale=float(content["length_scale"]),
        regularization=float(content["regularization"]),
        training_positions=arrays["training_positions"],
        coefficients=arrays["coefficients"],
        set_variances=arrays["set_variances"],
        training_energies=arrays.get("training_energies"),
        energy_length_scale=float(content["energy_length_scale"]),
        energy_regularization=float(content["energy_regularization"]),
        energy_mean=float(content["energy_mean"]),
        energy_offset=float(content.get("energy_offset", 0.0)),
        energy_variance=None if variance is None else float(variance),
        **common,
    )


LAYOUTS: Mapping[str, Layout] = {
    SGDML.name: Layout(
        ("kernel", "length_scale", "regularization", "energy_offset", "energy_weight"),
        _sgdml_arrays,
        _sgdml,
        {"feature_function": INVERSE.name},
    ),
    AFF.name: Layout(
        ("kernel", "length_scale", "regularization", *_ENERGY_SCALARS, "energy_variance"),
        _atomized_arrays,
        _atomized,
    ),
}
