"""Figures for ``--json``: one name for one thing in all commands."""

from __future__ import annotations

from typing import Any

from kraft.analysis.errors import ErrorReport
from kraft.models import ForceField


def error_figures(report: ErrorReport) -> dict[str, Any]:
    """Return the errors of a test, in the units of the report."""
    return {
        "energy_mae": report.energy_mae,
        "energy_rmse": report.energy_rmse,
        "energy_max": report.energy_max,
        "energy_spread": report.energy_spread,
        "force_mae": report.force_mae,
        "force_rmse": report.force_rmse,
        "force_max": report.force_max,
        "force_spread": report.force_spread,
        "n_test": report.n_test,
        "units": {"energy": report.units.energy_label, "force": report.units.force_label},
    }


def model_figures(force_field: ForceField) -> dict[str, Any]:
    """Return what a model consists of."""
    parameters = force_field.parameters
    return {
        "model_kind": force_field.kind.name,
        "n_atoms": parameters.n_atoms,
        "n_train": parameters.n_train,
        "n_symmetries": parameters.n_permutations,
        "kernel": parameters.kernel,
        "length_scale": parameters.length_scale,
        "regularization": parameters.regularization,
        "source": parameters.record.source,
        "source_fingerprint": parameters.record.source_fingerprint,
        "kraft_version": parameters.record.kraft_version,
    }
