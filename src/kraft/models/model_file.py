"""The model file: one safetensors file of arrays with JSON metadata, no pickle.

Layout, version 3 (`docs/model-file.md`). Arrays: ``atomic_numbers``, ``permutations``,
``feature_weights`` and optionally ``cell``; those of the kind of model, see
:mod:`kraft.models.model_layouts`. Metadata: one key ``kraft`` with a JSON object that holds
``format_version``, ``kind``, the numbers of that kind, ``units``, ``record`` and ``calibration``
(or null). Everything is in eV and Å. Version 2 is the same without ``feature_mixing``; version 1
lacks ``kind`` (it was ``sgdml``) and ``calibration``, too.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kraft.core.errors import KraftError, ModelFileError
from kraft.core.files import atomic_path
from kraft.core.typing import AnyArray
from kraft.data.units import Units
from kraft.kernels.radial import radial_kernel
from kraft.models.kinds import SGDML, AnyParameters, kind_of
from kraft.models.model_layouts import LAYOUTS, Arrays
from kraft.models.parameters import Record
from kraft.models.uncertainty.calibration import Calibration
from kraft.symmetry.group import as_permutations

FORMAT_VERSION = 3
METADATA_KEY = "kraft"

_ALWAYS = ("atomic_numbers", "permutations", "feature_weights")
_OPTIONAL = ("cell",)


def write_model(parameters: AnyParameters, path: str | os.PathLike[str]) -> None:
    """Write a model file; an interruption leaves the old file, or none, never half of one."""
    kind = kind_of(parameters)
    layout = LAYOUTS[kind.name]
    arrays = {
        name: np.ascontiguousarray(getattr(parameters, name))
        for name in (*_ALWAYS, *_OPTIONAL, *layout.arrays(parameters))
        if getattr(parameters, name) is not None
    }
    calibration = parameters.calibration
    content = {name: getattr(parameters, name) for name in layout.scalars}
    content |= {
        name: getattr(parameters, name)
        for name, default in layout.defaults.items()
        if getattr(parameters, name) != default
    }
    content |= {
        "format_version": FORMAT_VERSION,
        "kind": kind.name,
        "units": {"energy": parameters.units.energy, "length": parameters.units.length},
        "record": dataclasses.asdict(parameters.record),
        "calibration": None if calibration is None else dataclasses.asdict(calibration),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, metadata={METADATA_KEY: json.dumps(content)}))


def read_model(path: str | os.PathLike[str]) -> AnyParameters:
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


def _parameters(arrays: Arrays, content: dict[str, Any]) -> AnyParameters:
    kind = SGDML.name if content["format_version"] == 1 else content["kind"]
    if kind not in LAYOUTS:
        raise ValueError(f"its kind {kind!r} is none of {', '.join(LAYOUTS)}")
    _check_values(arrays)
    radial_kernel(content["kernel"])
    return LAYOUTS[kind].parameters(
        arrays,
        content,
        atomic_numbers=arrays["atomic_numbers"],
        permutations=as_permutations(arrays["permutations"], len(arrays["atomic_numbers"])),
        feature_weights=arrays["feature_weights"],
        kernel=content["kernel"],
        cell=arrays.get("cell"),
        units=Units(**content["units"]),
        record=_record(content["record"]),
        calibration=_calibration(content.get("calibration")),
    )


def _calibration(content: dict[str, Any] | None) -> Calibration | None:
    if content is None:
        return None
    entries = _known(Calibration, content)
    entries["indices"] = tuple(int(index) for index in entries.get("indices", ()))
    return Calibration(**entries)


def _record(content: dict[str, Any]) -> Record:
    """Return the record; entries that this version does not know are left out."""
    entries = _known(Record, content)
    for name in ("train_indices", "valid_indices"):
        entries[name] = tuple(int(index) for index in entries.get(name, ()))
    return Record(**entries)


def _known(kind: type[Record] | type[Calibration], content: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in dict(content).items() if name in known}


def _check_values(arrays: Arrays) -> None:
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"its {name} have values that are not finite")
