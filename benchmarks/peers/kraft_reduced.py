"""Train a model with some of its features, or measure their importance; kraft's interpreter.

Request
    ``dataset``; ``train_indices``, ``valid_indices``, ``test_indices``; ``look_indices``, frames
    that importance is measured on; ``features``, those to keep, or null; ``permutations``
    (``"auto"`` or null); ``settings``: kernel and, where they are not to be chosen, length scale
    and regularization; ``keeps``: sizes to select features for; ``solver``; ``model``: where to
    save it, if anywhere.

Answer
    ``choice``, ``n_permutations``, ``n_features``, ``seconds`` of the stages, ``iterations``,
    ``test`` and ``valid`` (errors in kcal/mol/Å and kcal/mol), ``prediction_seconds``,
    ``iteration_seconds``; with ``look_indices`` also ``importance``: its seconds, ``losses``,
    ``labels``, ``mean_distances``, ``largest_distances`` and the ``features`` of each size.
"""

from __future__ import annotations

import os

# As the command line does, before the libraries read them (`kraft/cli/entry.py`).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")

import time
from dataclasses import asdict
from typing import Any

import numpy as np
from exchange import serve

import kraft
from kraft.analysis.errors import evaluate
from kraft.analysis.importance import feature_importance
from kraft.analysis.reduction import prediction_seconds, select_features

KCAL = kraft.Units("kcal/mol")


def main(request: dict[str, Any]) -> dict[str, Any]:
    dataset = kraft.read(request["dataset"])
    train, valid, test = (
        dataset.subset(np.array(request[name], dtype=np.int64)) if request.get(name) else None
        for name in ("train_indices", "valid_indices", "test_indices")
    )
    if train is None:
        raise ValueError("there is nothing to train on")
    features = request.get("features")
    start = time.perf_counter()
    model, result = kraft.train(
        train,
        valid,
        permutations=request["permutations"],
        features=None if features is None else np.array(features),
        solver_options=kraft.SolverOptions(solver=request.get("solver", "auto")),
        **request["settings"],
    )
    outcome = result.outcome
    answer: dict[str, Any] = {
        "choice": {
            "kernel": result.choice.kernel,
            "length_scale": result.choice.length_scale,
            "regularization": result.choice.regularization,
        },
        "n_train": len(train),
        "n_permutations": len(result.permutations),
        "n_features": int(model.parameters.training_descriptors.shape[1]),
        "solver": outcome.solver,
        "iterations": outcome.iterations,
        "iteration_seconds": (
            outcome.seconds_solve / outcome.iterations if outcome.iterations else None
        ),
        "seconds": {**asdict(result.timings), "total": time.perf_counter() - start},
        "prediction_seconds": prediction_seconds(model, train.positions),
        "flops": model.evaluator.flops_per_geometry,
        "valid": _errors(model, valid),
        "test": _errors(model, test),
    }
    if request.get("look_indices"):
        looked_at = dataset.positions[np.array(request["look_indices"])]
        answer["importance"] = _importance(model, looked_at, request["keeps"])
    if request.get("model"):
        model.save(request["model"])
    return answer


def _errors(model: kraft.ForceField, part: kraft.Dataset | None) -> dict[str, Any] | None:
    if part is None:
        return None
    found = evaluate(model, part).in_units(KCAL)
    return {
        "force_mae": found.force_mae,
        "force_rmse": found.force_rmse,
        "energy_mae": found.energy_mae,
        "energy_rmse": found.energy_rmse,
        "n": found.n_test,
    }


def _importance(
    model: kraft.ForceField, positions: np.ndarray, keeps: list[float]
) -> dict[str, Any]:
    start = time.perf_counter()
    found = feature_importance(model, positions)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "n_frames": found.n_frames,
        "n_orbits": len(found.orbit_losses),
        "losses": found.losses,
        "labels": found.labels,
        "mean_distances": found.mean_distances,
        "largest_distances": found.largest_distances,
        "features": {f"{keep:g}": select_features(found, keep=keep).features for keep in keeps},
    }


if __name__ == "__main__":
    serve(main)
