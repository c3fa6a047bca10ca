"""Reading models of sgdml, of any version, without unpickling anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kraft.core.errors import DataError, KraftError, ModelFileError, UnitError
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.data.archive import archive_keys, read_archive, text_entry
from kraft.data.units import Units
from kraft.interfaces.sgdml.layout import IMPLIED_UNITS, linear_permutations, pair_order
from kraft.models.force_field import ForceField, Precision
from kraft.models.parameters import Parameters, Record
from kraft.symmetry.group import as_permutations, canonical, validate

_NEEDED = ("z", "R_desc", "R_d_desc_alpha", "c", "sig", "perms")
_NUMBERS = ("std", "alphas_E", "lattice", "lam", "tril_perms_lin", "idxs_train", "idxs_valid")
_ITERATIVE = ("solver_resid", "solver_tol", "norm_y_train")
_TEXTS = (
    *("type", "code_version", "dataset_name", "dataset_theory", "solver_name", "solver"),
    *("r_unit", "e_unit", "md5_train"),
)
_OTHER_KINDS = {"d": "an sGDML dataset", "t": "an sGDML training task"}


class ImportedModel(NamedTuple):
    """A force field read from a file of another program, and what a person should know."""

    force_field: ForceField
    notices: tuple[str, ...]


def read_sgdml_model(path: str | os.PathLike[str]) -> ForceField:
    """Read a model that sgdml wrote (any version); see :func:`import_sgdml_model`."""
    return import_sgdml_model(path).force_field


def import_sgdml_model(
    path: str | os.PathLike[str],
    *,
    energy_unit: str | None = None,
    length_unit: str | None = None,
    device: str = "cpu",
    dtype: Precision = "float64",
) -> ImportedModel:
    """Read a model that sgdml wrote (any version), with notices about what was assumed.

    Predictions agree with sgdml 1.0.3's to rounding. The training geometries themselves are not in
    such a file, only their descriptors, so it can be used but not trained further.

    Parameters
    ----------
    path
        The ``.npz`` file.
    energy_unit, length_unit
        Units of the training data; they overrule what the file says. Without either, kcal/mol and
        Å are meant.
    device, dtype
        As for :class:`kraft.ForceField`. The coefficients of weakly regularized models cancel
        over many digits: float32 is not for them.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ModelFileError
        When it is no model of sgdml, is damaged, or its permutations are no group.
    UnitError
        When a unit is unknown.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"There is no model file {source}.")
    notices: list[str] = []
    try:
        _require_model(source)
        arrays = read_archive(source, _NEEDED)
        arrays |= read_archive(source, (*_NUMBERS, *_ITERATIVE, "use_E"), skip_pickled=True)
        text = {
            key: text_entry(array)
            for key, array in read_archive(source, _TEXTS, skip_pickled=True).items()
        }
        units = _units(source, text, energy_unit, length_unit, notices)
        parameters = _parameters(source, arrays, text, units)
    except (ModelFileError, UnitError):
        raise
    except (KraftError, ValueError, TypeError) as error:
        raise ModelFileError(f"{source.name} is no usable sgdml model: {error}") from error
    notices += _quality_notices(source, arrays)
    return ImportedModel(ForceField(parameters, device, dtype), tuple(notices))


def _require_model(source: Path) -> None:
    try:
        keys = archive_keys(source)
    except DataError as error:
        raise ModelFileError(str(error)) from error
    kind = text_entry(read_archive(source, ["type"], skip_pickled=True).get("type"))
    if kind in _OTHER_KINDS:
        raise ModelFileError(
            f"{source.name} is {_OTHER_KINDS[kind]}, not a model. Expected what `sgdml train` or "
            "`kraft convert` writes."
        )
    missing = [key for key in _NEEDED if key not in keys]
    if missing:
        raise ModelFileError(
            f"{source.name} is no model of sgdml: it has no {' and no '.join(map(repr, missing))}. "
            f"The keys there are: {', '.join(sorted(keys)) or 'none'}. Give a model file."
        )


def _units(
    source: Path,
    text: dict[str, str],
    energy_unit: str | None,
    length_unit: str | None,
    notices: list[str],
) -> Units:
    energy = energy_unit or text.get("e_unit", "").strip()
    length = length_unit or text.get("r_unit", "").strip()
    if not energy or not length:
        notices.append(
            f"{source.name} does not name all its units: read as {energy or IMPLIED_UNITS.energy} "
            f"and {length or IMPLIED_UNITS.length}, the convention of sGDML files."
        )
    try:
        return Units(energy or IMPLIED_UNITS.energy, length or IMPLIED_UNITS.length)
    except UnitError as error:
        raise UnitError(f"{source.name}: {error}") from error


def _parameters(
    source: Path, arrays: dict[str, AnyArray], text: dict[str, str], units: Units
) -> Parameters:
    numbers = {key: _numeric(key, array) for key, array in arrays.items()}
    atomic_numbers = numbers["z"].reshape(-1).astype(np.int64)
    n_atoms = len(atomic_numbers)
    if n_atoms < 2:
        raise ValueError(f"it is for {n_atoms} atoms; expected at least two")
    n_features = n_atoms * (n_atoms - 1) // 2
    descriptors, coefficients = _training_arrays(numbers, n_atoms, n_features)
    order = pair_order(n_atoms)
    group, multiplicity = _permutation_group(numbers, atomic_numbers)
    energy, length = units.energy_factor, units.length_factor
    scale = _scalar(numbers, "std", 1.0) * multiplicity
    epsilon, lattice = numbers.get("alphas_E"), numbers.get("lattice")
    length_scale = _scalar(numbers, "sig")
    if not length_scale > 0.0:
        raise ValueError(f"its length scale is {length_scale}; expected a positive number")
    return Parameters(
        atomic_numbers=atomic_numbers,
        permutations=group,
        kernel="matern52",
        length_scale=length_scale / length,
        regularization=_scalar(numbers, "lam", 0.0) / length**2,
        feature_weights=np.ones(n_features),
        training_descriptors=np.ascontiguousarray(descriptors[:, order]) / length,
        feature_coefficients=coefficients[:, order] * (-scale * energy / length),
        energy_offset=_scalar(numbers, "c") * energy,
        energy_coefficients=None if epsilon is None else epsilon.reshape(-1) * (scale * energy),
        cell=None if lattice is None else np.ascontiguousarray(lattice.T) * length,
        units=units,
        record=_record(source, numbers, text),
    )


def _numeric(key: str, array: AnyArray) -> AnyArray:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"its entry {key!r} holds {array.dtype}; expected real numbers")
    numbers: AnyArray = array.astype(np.float64)
    if key in (*_NEEDED, "std", "alphas_E", "lattice") and not np.isfinite(numbers).all():
        raise ValueError(f"its entry {key!r} has values that are not finite")
    return numbers


def _scalar(numbers: dict[str, AnyArray], key: str, default: float | None = None) -> float:
    array = numbers.get(key)
    if array is None and default is not None:
        return default
    if array is None or array.size != 1:
        raise ValueError(f"its entry {key!r} should be one number")
    return float(array.reshape(-1)[0])


def _training_arrays(
    numbers: dict[str, AnyArray], n_atoms: int, n_features: int
) -> tuple[FloatArray, FloatArray]:
    """Return descriptors and coefficients ``(M, D)`` in sgdml's order of pairs.

    sgdml stores descriptors as ``(D, M)`` and coefficients as ``(M, D)``; descriptors that are not
    transposed are taken too where the shape tells.
    """
    coefficients, descriptors = numbers["R_d_desc_alpha"], numbers["R_desc"]
    if coefficients.ndim != 2 or coefficients.shape[1] != n_features or not len(coefficients):
        raise ValueError(
            f"its 'R_d_desc_alpha' has shape {coefficients.shape}; for {n_atoms} atoms expected "
            f"(geometries, {n_features})"
        )
    if descriptors.shape == coefficients.shape[::-1]:
        return descriptors.T, coefficients
    if descriptors.shape == coefficients.shape:
        return descriptors, coefficients
    raise ValueError(
        f"its 'R_desc' has shape {descriptors.shape}; expected {coefficients.shape[::-1]}"
    )


def _permutation_group(
    numbers: dict[str, AnyArray], atomic_numbers: IntArray
) -> tuple[IntArray, int]:
    """Return the group and how often the file lists each of its elements.

    sgdml sums over the rows as they are, so rows that are all repeated alike are a factor.
    """
    rows = as_permutations(numbers["perms"], len(atomic_numbers))
    group = canonical(rows)
    multiplicity, rest = divmod(len(rows), len(group))
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    if rest or (counts != multiplicity).any():
        raise ValueError("its permutations are not repeated equally often, so they are no group")
    validate(group, atomic_numbers)
    stored = numbers.get("tril_perms_lin")
    if stored is not None and not np.array_equal(stored.reshape(-1), linear_permutations(rows)):
        raise ValueError("its 'tril_perms_lin' contradicts its 'perms'")
    return group, multiplicity


def _record(source: Path, numbers: dict[str, AnyArray], text: dict[str, str]) -> Record:
    residual = None
    if {"solver_resid", "norm_y_train"} <= set(numbers):
        residual = _scalar(numbers, "solver_resid") / _scalar(numbers, "norm_y_train")
    unknown = "" if "lam" in numbers else "; its regularization is not recorded"
    return Record(
        name=text.get("dataset_name") or source.stem,
        theory=text.get("dataset_theory", ""),
        source=source.name,
        source_fingerprint=text.get("md5_train", ""),
        train_indices=_indices(numbers.get("idxs_train")),
        valid_indices=_indices(numbers.get("idxs_valid")),
        solver=f"sgdml {text.get('solver_name') or text.get('solver') or ''}".strip(),
        relative_residual=residual,
        choice=f"imported from sgdml {text.get('code_version', '')}".rstrip() + unknown,
    )


def _indices(array: AnyArray | None) -> tuple[int, ...]:
    return () if array is None else tuple(int(index) for index in array.reshape(-1))


def _quality_notices(source: Path, arrays: dict[str, AnyArray]) -> list[str]:
    """Judge what the file says about its own making."""
    notices = []
    use_energies = arrays.get("use_E")
    if use_energies is not None and use_energies.size == 1 and not use_energies.all():
        notices.append(
            f"{source.name} was trained without energies: its energies are correct up to a "
            "constant."
        )
    if set(_ITERATIVE) <= set(arrays):
        residual, tolerance, norm = (float(np.ravel(arrays[key])[0]) for key in _ITERATIVE)
        if residual > tolerance * norm:
            notices.append(
                f"{source.name} comes from an iterative solver that did not converge: relative "
                f"residual {residual / norm:.1e}, asked for {tolerance:.1e}. Its errors may be "
                "larger than necessary; train again."
            )
    return notices
