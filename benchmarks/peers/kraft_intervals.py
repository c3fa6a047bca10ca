"""Train one kind of kraft's models, test it and its intervals; runs with kraft's interpreter.

Request
    ``dataset``; ``train_indices``, ``valid_indices`` (for calibration, not for the training),
    ``test_indices``; ``test_dataset`` (default: ``dataset``); ``kind``: ``"aff"`` or ``"sgdml"``;
    ``forces_only``: energies are ignored; ``solver`` of sGDML (default ``"auto"``); ``intervals``
    (default true): whether uncertainties are computed; ``max_interval_frames``: test frames that
    they are computed for, at most; ``settings``: hyper-parameters, chosen when not given.

Answer
    ``choice``; ``n_permutations``; ``n_sets`` (AFF); ``solver``; ``seconds`` of the stages;
    ``test``: errors in kcal/mol/Å and kcal/mol, spread and range of the reference forces;
    ``intervals``: ``before`` and ``after`` the calibration, each with ``forces`` and ``energies``
    (coverage of the 95 % intervals, their mean length, rank correlation of deviation and error),
    its ``factors``, method and seconds, or only ``error``; ``notices``.
"""

from __future__ import annotations

import os

# As the command line does, before the libraries read them (`kraft/cli/entry.py`).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")

import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from exchange import serve

import kraft
from kraft.analysis.calibration import QuantityCalibration, UncertaintyReport, evaluate_uncertainty
from kraft.analysis.errors import evaluate

KCAL = kraft.Units("kcal/mol")


def main(request: dict[str, Any]) -> dict[str, Any]:
    dataset = _read(request["dataset"], request)
    test_data = _read(request.get("test_dataset") or request["dataset"], request)
    training = dataset.subset(np.array(request["train_indices"]))
    tested = test_data.subset(np.array(request["test_indices"]))
    model, answer = _train(request, training)
    start = time.perf_counter()
    errors = evaluate(model, tested).in_units(KCAL)
    answer["seconds"]["test"] = time.perf_counter() - start
    knows_energies = not request.get("forces_only") and tested.energies is not None
    answer["test"] = {
        "force_mae": errors.force_mae,
        "force_rmse": errors.force_rmse,
        "energy_mae": errors.energy_mae if knows_energies else None,
        "force_spread": errors.force_spread,
        "force_range": float(np.ptp(tested.forces) / KCAL.force_factor),
        "n": len(tested),
    }
    if request.get("intervals", True):
        held = dataset.subset(np.array(request["valid_indices"]))
        try:
            answer["intervals"] = _intervals(model, held, tested, request)
        except kraft.KraftError as error:  # the errors are worth keeping without them
            answer["intervals"] = {"error": str(error)}
    return answer


def _read(path: str, request: dict[str, Any]) -> kraft.Dataset:
    dataset = kraft.read(path)
    return replace(dataset, energies=None) if request.get("forces_only") else dataset


def _train(
    request: dict[str, Any], training: kraft.Dataset
) -> tuple[kraft.ForceField, dict[str, Any]]:
    """Train without validation frames: those are for the calibration."""
    settings = request.get("settings", {})
    start = time.perf_counter()
    model: kraft.ForceField
    result: Any
    if request["kind"] == "aff":
        model, result = kraft.train_aff(training, **settings)
        solver, n_sets = "sets", len(result.sets)
    else:
        model, result = kraft.train(
            training,
            kernel="matern52",
            **settings,
            solver_options=kraft.SolverOptions(solver=request.get("solver", "auto")),
        )
        solver, n_sets = result.outcome.solver, None
    choice = result.choice
    return model, {
        "kind": request["kind"],
        "n_train": len(training),
        "choice": {
            "kernel": choice.kernel,
            "length_scale": choice.length_scale,
            "regularization": choice.regularization,
        },
        "n_permutations": len(result.permutations),
        "n_sets": n_sets,
        "solver": solver,
        "notices": list(result.notices),
        "seconds": {**asdict(result.timings), "total": time.perf_counter() - start},
    }


def _intervals(
    model: kraft.ForceField, held: kraft.Dataset, tested: kraft.Dataset, request: dict[str, Any]
) -> dict[str, Any]:
    """Compare intervals with errors before and after a calibration on ``held``."""
    most = request.get("max_interval_frames")
    if most is not None and len(tested) > most:
        tested = tested.subset(np.linspace(0, len(tested) - 1, most).astype(np.int64))
    start = time.perf_counter()
    model.prepare_uncertainty()
    prepared = time.perf_counter()
    before = evaluate_uncertainty(model, tested)
    seconds = time.perf_counter() - prepared
    calibrated = model.calibrated(held)
    after = evaluate_uncertainty(calibrated, tested)
    calibration = calibrated.calibration
    if calibration is None:
        raise AssertionError("calibrated() gives a calibration")
    return {
        "method": model.uncertainty.method,
        "description": model.uncertainty.description,
        "n": len(tested),
        "n_calibration": len(held),
        "factors": {"forces": calibration.forces, "energies": calibration.energies},
        "before": _report(before),
        "after": _report(after),
        "seconds": {"preparation": prepared - start, "per_geometry": seconds / len(tested)},
    }


def _report(report: UncertaintyReport) -> dict[str, Any]:
    shown = report.in_units(KCAL)
    return {"forces": _quantity(shown.forces), "energies": _quantity(shown.energies)}


def _quantity(quantity: QuantityCalibration | None) -> dict[str, float] | None:
    if quantity is None:
        return None
    return {
        "coverage": quantity.interval_coverage,
        "length": quantity.interval_length,
        "rank_correlation": quantity.rank_correlation,
        "nll": quantity.nll,
    }


if __name__ == "__main__":
    serve(main)
