"""Writing models for sgdml 1.0.3, without any pickled entry."""

from __future__ import annotations

import math
import os

import numpy as np

from kraft.core.errors import OptionError
from kraft.core.typing import AnyArray
from kraft.data.archive import write_archive
from kraft.data.units import Units
from kraft.descriptors.feature_functions import INVERSE
from kraft.interfaces.sgdml.layout import (
    IMPLIED_UNITS,
    MD5_LENGTH,
    linear_permutations,
    pair_order,
)
from kraft.models.force_field import ForceField
from kraft.models.parameters import Parameters
from kraft.version import __version__


def write_sgdml_model(
    force_field: ForceField, path: str | os.PathLike[str], units: Units | None = None
) -> tuple[str, ...]:
    """Write a model that sgdml 1.0.3 can predict with; the file appears whole or not at all.

    The file opens in ``sgdml.predict.GDMLPredict(numpy.load(path))`` and sgdml's ASE calculator.
    sgdml's command line asks for pickled dictionaries of errors in addition, which kraft does not
    write.

    Parameters
    ----------
    force_field
        What to write: a Matérn-5/2 model with equal weights of all features.
    path
        Where to.
    units
        Units of sgdml's predictions; those of the training data by default. sgdml's ASE calculator
        assumes kcal/mol and Å whatever the file says.

    Returns
    -------
    tuple of str
        What a person should know before using the file in sgdml.

    Raises
    ------
    OptionError
        When sgdml has no such model: an atomized one, a reduced one, another kernel or feature
        function, or weights that differ.
    OSError
        When the file cannot be written.
    """
    parameters = force_field.parameters
    if not isinstance(parameters, Parameters):
        raise OptionError(
            f"sgdml has no {force_field.kind.label} models: this one has a Gaussian process for "
            "each set of equivalent atoms. Train an sGDML model to export it."
        )
    units = units or parameters.units
    length_scale = _representable_length_scale(parameters) * units.length_factor
    whole = round(length_scale)
    is_whole = math.isclose(length_scale, whole, rel_tol=1e-14)
    arrays = _model_arrays(parameters, units)
    arrays["sig"] = np.array(whole if is_whole else length_scale)
    write_archive(path, arrays)
    return _export_notices(parameters, units, length_scale, is_whole)


def _representable_length_scale(parameters: Parameters) -> float:
    """Return sgdml's length scale in 1/Å for this model, or say why there is none."""
    if parameters.kernel != "matern52":
        raise OptionError(
            f"sgdml knows only the Matérn-5/2 kernel; this model has {parameters.kernel}. Train "
            "one with kernel='matern52' (--kernel matern52) to export it."
        )
    if parameters.features is not None:
        raise OptionError(
            f"sgdml has only models with the features of all {parameters.n_pairs} pairs of atoms, "
            f"but this one is reduced to {parameters.n_features} of them. Train one with all "
            "features to export it."
        )
    if parameters.feature_function != INVERSE.name:
        raise OptionError(
            f"sgdml knows only inverse distances; the feature function of this model is "
            f"{parameters.feature_function}. Train one with feature_function='inverse' to export "
            "it."
        )
    if parameters.feature_mixing is not None:
        raise OptionError(
            "sgdml compares distances one by one; the learned metric of this model mixes them. "
            "Train one with feature_weights=None (--metric equal) to export it."
        )
    weights = parameters.feature_weights
    if not weights.min() > 0.0 or np.ptp(weights) > 1e-14 * weights.max():
        raise OptionError(
            "sgdml weights all pairs of atoms equally; the feature weights of this model differ. "
            "Train one without feature weights to export it."
        )
    return parameters.length_scale / float(weights[0])


def _model_arrays(parameters: Parameters, units: Units) -> dict[str, AnyArray]:
    energy, length = units.energy_factor, units.length_factor
    record = parameters.record
    to_theirs = np.argsort(pair_order(parameters.n_atoms))
    known = record.energy_offset_scatter is not None or parameters.energy_offset != 0.0
    arrays: dict[str, AnyArray] = {
        "type": np.array("m"),
        "code_version": np.array(f"kraft {__version__}"),
        "dataset_name": np.array(record.name or "unnamed"),
        "dataset_theory": np.array(record.theory or "unknown"),
        "solver_name": np.array(record.solver or "unknown"),
        "z": parameters.atomic_numbers.astype(np.uint8),
        "idxs_train": np.array(record.train_indices, dtype=np.int64),
        "idxs_valid": np.array(record.valid_indices, dtype=np.int64),
        "n_test": np.array(0),
        "R_desc": (parameters.training_descriptors[:, to_theirs] * length).T,
        "R_d_desc_alpha": parameters.feature_coefficients[:, to_theirs] * (-length / energy),
        "c": np.array(parameters.energy_offset / energy),
        "std": np.array(1.0),
        "lam": np.array(parameters.regularization * length**2),
        "perms": parameters.permutations,
        "tril_perms_lin": linear_permutations(parameters.permutations),
        "use_E": np.array(known),
        "r_unit": np.array({"Å": "Ang"}.get(units.length, units.length)),
        "e_unit": np.array(units.energy),
    }
    if len(record.source_fingerprint) == MD5_LENGTH:
        arrays["md5_train"] = np.array(record.source_fingerprint.encode())
    if parameters.coefficients is not None:
        arrays["alphas_F"] = parameters.coefficients.reshape(-1) / (-length * energy)
    if parameters.energy_coefficients is not None:
        arrays["alphas_E"] = parameters.energy_coefficients / energy
    if parameters.cell is not None:
        arrays["lattice"] = parameters.cell.T / length
    return arrays


def _export_notices(
    parameters: Parameters, units: Units, length_scale: float, is_whole: bool
) -> tuple[str, ...]:
    notices = []
    if not is_whole:
        notices.append(
            f"The length scale {length_scale:.6g} is not a whole number: sgdml's torch path "
            "(use_torch=True) and its command line cut it off and predict wrongly. Use sgdml's "
            "default path, or train with a whole --length-scale."
        )
    if parameters.energy_coefficients is not None:
        notices.append(
            "The model learned energies too: sgdml's torch path (use_torch=True) cannot load it. "
            "Use sgdml's default path."
        )
    if units != IMPLIED_UNITS:
        notices.append(
            "sgdml's ASE calculator takes every model for one in kcal/mol and Å, but this one "
            f"is in {units.energy_label} and {units.length_label}: give it E_to_eV and F_to_eV_Ang."
        )
    return tuple(notices)
