"""Train an sGDML model and test its uncertainties in every way; runs with kraft's interpreter.

Request
    ``dataset``, ``train_indices``, ``valid_indices`` (for calibration); ``tests``: by name a
    ``dataset`` and ``indices``; ``methods``; ``settings``: hyper-parameters, chosen when not given;
    ``time``: whether to time predictions with and without deviations; ``batch``, ``seconds``: of a
    timed call, and least time of a figure.

Answer
    ``choice``, ``n_labels``, ``n_permutations``; ``plain``: best seconds of a prediction of a batch
    and of one geometry, and of the novelty of one; ``methods``: by name ``preparation`` (seconds),
    ``batch`` (best seconds of deviations alone, and of a prediction with them), ``description``,
    ``factors``, and ``tests``: by name the figures before and after calibration, the error of the
    deviations against the exact ones, and rank correlations with the error; or ``error``.
    ``tests`` has the errors, and the rank correlation of the novelty with them.
"""

from __future__ import annotations

import os

# As the command line does, before the libraries read them (`kraft/cli/entry.py`).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")

import time
from typing import Any

import numpy as np
from exchange import best_time, serve

import kraft
from kraft.analysis.calibration import (
    QuantityCalibration,
    compare_uncertainty,
    predict_with_uncertainty,
    quantity_calibration,
    rank_correlation,
)

KCAL = kraft.Units("kcal/mol")


def main(request: dict[str, Any]) -> dict[str, Any]:
    dataset = kraft.read(request["dataset"])
    training = dataset.subset(np.array(request["train_indices"]))
    held = dataset.subset(np.array(request["valid_indices"]))
    tests = {
        name: kraft.read(test["dataset"]).subset(np.array(test["indices"]))
        for name, test in request["tests"].items()
    }
    start = time.perf_counter()
    model, result = kraft.train(training, kernel="matern52", **request.get("settings", {}))
    answer: dict[str, Any] = {
        "n_train": len(training),
        "n_labels": model.parameters.n_train * (3 * model.parameters.n_atoms - 6),
        "n_permutations": len(result.permutations),
        "choice": {
            "length_scale": result.choice.length_scale,
            "regularization": result.choice.regularization,
        },
        "seconds": time.perf_counter() - start,
        "tests": {name: _errors(model, test) for name, test in tests.items()},
    }
    if request.get("time"):
        answer["plain"] = _plain_times(model, next(iter(tests.values())), request)
    exact: dict[str, np.ndarray] = {}
    answer["methods"] = {}
    for method in request["methods"]:
        try:
            found = _method(model.with_uncertainty(method), held, tests, exact, request)
        except kraft.KraftError as error:
            found = {"error": str(error)}
        answer["methods"][method] = found
    return answer


def _errors(model: kraft.ForceField, test: kraft.Dataset) -> dict[str, Any]:
    """Return errors, and how well the novelty ranks them."""
    errors = np.abs(model.predict(test.positions).forces - test.forces)
    novelty = model.novelty(test.positions)
    return {
        "n": len(test),
        "force_mae": float(errors.mean()) / KCAL.force_factor,
        "novelty": [float(np.quantile(novelty, q)) for q in (0.05, 0.5, 0.95)],
        "novelty_rank": rank_correlation(novelty, errors.mean(axis=(1, 2))),
    }


def _plain_times(
    model: kraft.ForceField, test: kraft.Dataset, request: dict[str, Any]
) -> dict[str, float]:
    batch, one = _batch(test, request), test.positions[0]
    seconds = {"min_seconds": request["seconds"]}
    return {
        "batch": best_time(lambda: model.predict(batch), **seconds)["best"],
        "one": best_time(lambda: model.predict(one), **seconds)["best"],
        "novelty_one": best_time(lambda: model.novelty(one), **seconds)["best"],
        "novelty_batch": best_time(lambda: model.novelty(batch), **seconds)["best"],
    }


def _batch(test: kraft.Dataset, request: dict[str, Any]) -> np.ndarray:
    return np.resize(test.positions, (request["batch"], *test.positions.shape[1:]))


def _method(
    model: kraft.ForceField,
    held: kraft.Dataset,
    tests: dict[str, kraft.Dataset],
    exact: dict[str, np.ndarray],
    request: dict[str, Any],
) -> dict[str, Any]:
    """Return what one method of uncertainty costs, and how honest it is."""
    start = time.perf_counter()
    uncertainty = model.prepare_uncertainty()
    found: dict[str, Any] = {
        "preparation": time.perf_counter() - start,
        "direction": uncertainty.direction,
        "description": uncertainty.description,
    }
    if request.get("time"):
        batch = _batch(next(iter(tests.values())), request)
        found["batch"] = best_time(
            lambda: model.predict(batch, uncertainty=True), min_seconds=request["seconds"]
        )["best"]
    calibrated = model.calibrated(held)
    calibration = calibrated.calibration
    if calibration is None:
        raise AssertionError("calibrated() gives a calibration")
    found["factors"] = {"forces": calibration.forces, "energies": calibration.energies}
    found["tests"] = {}
    for name, test in tests.items():
        predicted = predict_with_uncertainty(model, test.positions, "testing")
        before = compare_uncertainty(model, test, predicted).in_units(KCAL)
        scaled = predicted._replace(forces_std=predicted.forces_std * calibration.forces)
        errors = (predicted.forces - test.forces) / KCAL.force_factor
        after = quantity_calibration(errors, scaled.forces_std / KCAL.force_factor)
        if uncertainty.method == "exact":
            exact[name] = predicted.forces_std
        found["tests"][name] = {
            "before": _quantity(before.forces),
            "after": _quantity(after),
            "energy_coverage": None
            if before.energies is None
            else before.energies.interval_coverage,
            "against_exact": _against(predicted.forces_std, exact.get(name)),
        }
    return found


def _quantity(quantity: QuantityCalibration) -> dict[str, float]:
    return {
        "coverage": quantity.interval_coverage,
        "length": quantity.interval_length,
        "rank_correlation": quantity.rank_correlation,
        "std": float(quantity.geometry_std.mean()),
        "error": float(quantity.geometry_error.mean()),
    }


def _against(std: np.ndarray, exact: np.ndarray | None) -> dict[str, float] | None:
    """Compare deviations with exact ones: ratios over components, ranking over geometries."""
    if exact is None:
        return None
    ratios = (std / exact).reshape(-1)
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    return {
        "low": float(low),
        "median": float(middle),
        "high": float(high),
        "rank_correlation": rank_correlation(std.mean(axis=(1, 2)), exact.mean(axis=(1, 2))),
    }


if __name__ == "__main__":
    serve(main)
