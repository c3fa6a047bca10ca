"""The model file: one safetensors file of arrays with JSON metadata, no pickle.

Layout, version 1 (`docs/model-file.md`). Arrays: ``atomic_numbers``, ``permutations``,
``feature_weights``, optionally ``cell`` and ``energy_coefficients``; the training set either as
``training_positions`` and ``coefficients``, from which descriptors are computed, or, where those
are not known, as ``training_descriptors`` and ``feature_coefficients``. Metadata: one key ``kraft``
with a JSON object that holds ``format_version``, ``kernel``, ``length_scale``, ``regularization``,
``energy_offset``, ``units`` and ``record``. Everything is in eV and Å.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kraft.core.errors import KraftError, ModelFileError
from kraft.core.files import atomic_path
from kraft.core.typing import AnyArray, FloatArray
from kraft.data.units import Units
from kraft.descriptors import InverseDistances
from kraft.kernels.radial import radial_kernel
from kraft.models.parameters import Parameters, Record
from kraft.symmetry.group import as_permutations

FORMAT_VERSION = 1
METADATA_KEY = "kraft"

_SCALARS = ("kernel", "length_scale", "regularization", "energy_offset")
_ALWAYS = ("atomic_numbers", "permutations", "feature_weights")
_OPTIONAL = ("cell", "energy_coefficients")
_GEOMETRIES = ("training_positions", "coefficients")
_DESCRIPTORS = ("training_descriptors", "feature_coefficients")


def write_model(parameters: Parameters, path: str | os.PathLike[str]) -> None:
    """Write a model file; an interruption leaves the old file, or none, never half of one."""
    known = parameters.training_positions is not None and parameters.coefficients is not None
    names = _ALWAYS + (_GEOMETRIES if known else _DESCRIPTORS)
    arrays = {name: np.ascontiguousarray(getattr(parameters, name)) for name in names}
    for name in _OPTIONAL:
        value = getattr(parameters, name)
        if value is not None:
            arrays[name] = np.ascontiguousarray(value)
    content = {name: getattr(parameters, name) for name in _SCALARS}
    content |= {
        "format_version": FORMAT_VERSION,
        "units": {"energy": parameters.units.energy, "length": parameters.units.length},
        "record": dataclasses.asdict(parameters.record),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, metadata={METADATA_KEY: json.dumps(content)}))


def read_model(path: str | os.PathLike[str]) -> Parameters:
    """Read a model file of any format version.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ModelFileError
        When it is no model file, is damaged, or was written by a later version of kraft.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"There is no model file {source}.")
    arrays, content = _read(source)
    version = content.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise ModelFileError(f"{source} names no format version; it is damaged. Train it again.")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{source} has format version {version}, this kraft reads up to {FORMAT_VERSION}. "
            f"It was written by kraft {content.get('record', {}).get('kraft_version', '?')}: "
            "install that version or a later one."
        )
    try:
        return _parameters(arrays, content)
    except (LookupError, TypeError, ValueError, RuntimeError, KraftError) as error:
        raise ModelFileError(f"{source} is damaged: {error}. Train or export it again.") from error


def _read(source: Path) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    try:
        with safe_open(source, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if METADATA_KEY not in metadata:
            raise ModelFileError(
                f"{source} is a safetensors file, but not one that kraft wrote (its metadata has "
                f"no key {METADATA_KEY!r}). Give a model made by `kraft train`."
            )
        content = json.loads(metadata[METADATA_KEY])
        if not isinstance(content, dict):
            raise ValueError(f"its metadata {METADATA_KEY!r} is no JSON object")
        return arrays, content
    except (SafetensorError, ValueError, TypeError, AttributeError, OSError) as error:
        with source.open("rb") as handle:
            zipped = handle.read(2) == b"PK"
        advice = (
            "It looks like an sgdml archive: import it with `kraft convert`."
            if zipped
            else "Give a model made by `kraft train`; if it is one, it was cut short or changed."
        )
        raise ModelFileError(f"{source} is no readable model file ({error}). {advice}") from error


def _parameters(arrays: dict[str, AnyArray], content: dict[str, Any]) -> Parameters:
    cell = arrays.get("cell")
    positions = coefficients = None
    if all(name in arrays for name in _GEOMETRIES):
        positions, coefficients = (arrays[name] for name in _GEOMETRIES)
        descriptors, products = descriptors_and_coefficients(positions, coefficients, cell)
    else:
        descriptors, products = (arrays[name] for name in _DESCRIPTORS)
    _check_values(arrays)
    radial_kernel(content["kernel"])
    return Parameters(
        atomic_numbers=arrays["atomic_numbers"],
        permutations=as_permutations(arrays["permutations"], len(arrays["atomic_numbers"])),
        kernel=content["kernel"],
        length_scale=float(content["length_scale"]),
        regularization=float(content["regularization"]),
        feature_weights=arrays["feature_weights"],
        training_descriptors=descriptors,
        feature_coefficients=products,
        energy_offset=float(content["energy_offset"]),
        energy_coefficients=arrays.get("energy_coefficients"),
        cell=cell,
        training_positions=positions,
        coefficients=coefficients,
        units=Units(**content["units"]),
        record=_record(content["record"]),
    )


def _record(content: dict[str, Any]) -> Record:
    """Return the record; entries that this version does not know are left out."""
    known = {field.name for field in dataclasses.fields(Record)}
    entries = {name: value for name, value in dict(content).items() if name in known}
    for name in ("train_indices", "valid_indices"):
        entries[name] = tuple(int(index) for index in entries.get(name, ()))
    return Record(**entries)


def _check_values(arrays: dict[str, AnyArray]) -> None:
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"its {name} have values that are not finite")


def descriptors_and_coefficients(
    positions: FloatArray, coefficients: FloatArray, cell: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Return descriptors ``x_j`` and ``J_j α_j``, ``(M, D)`` each, of training geometries."""
    descriptor = InverseDistances(
        positions.shape[1], cell=None if cell is None else torch.tensor(cell)
    )
    features = descriptor.evaluate(torch.tensor(positions))
    product = descriptor.jacobian_product(features, torch.tensor(coefficients))
    return features.values.numpy(), product.numpy()
