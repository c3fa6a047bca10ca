"""Training of the models, each once: it is kept for all rows that use it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from reporting import Figures

import kraft
from kraft.analysis.importance import feature_importance
from kraft.analysis.reduction import select_features

from .cases import ModelCase

KCAL = 23.060548
"""kcal/mol in an eV."""


def model(name: str, case: ModelCase, data: Path, work: Path) -> tuple[kraft.ForceField, Figures]:
    """Return a model and its figures: from the folder ``work``, or trained now.

    Raises
    ------
    FileNotFoundError
        When the data are not there.
    """
    path, store = work / f"{name}.safetensors", work / f"{name}.json"
    wanted = asdict(case)
    if path.exists() and store.exists():
        figures: Figures = json.loads(store.read_text(encoding="utf-8"))
        if figures["case"] == wanted:
            return kraft.load(path), figures
    print(f"{name}: training", file=sys.stderr, flush=True)
    force_field, figures = _trained(case, data)
    figures["case"] = wanted
    work.mkdir(parents=True, exist_ok=True)
    force_field.save(path)
    store.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return force_field, figures


def dataset(case: ModelCase, data: Path) -> kraft.Dataset:
    """Return the data of a model; FileNotFoundError where they are not."""
    source = data / case.file
    if not source.exists():
        raise FileNotFoundError(f"there is no {source}: set KRAFT_REFERENCE_DATA or --data")
    return kraft.read(source)


def _trained(case: ModelCase, data: Path) -> tuple[kraft.ForceField, Figures]:
    looked_at = case.n_looked_at if case.keep < 1.0 else 0
    whole = dataset(case, data)
    parts = kraft.split(whole, n_train=case.n_train, n_valid=looked_at, n_test=case.n_test)
    settings = {
        "kernel": case.kernel,
        "length_scale": case.length_scale,
        "regularization": case.regularization,
    }
    begun = time.perf_counter()
    # in all geometries, without their labels: few training frames may not show every symmetry
    permutations = kraft.find_permutations(whole.positions, whole.atomic_numbers).permutations
    features, found = None, {}
    if case.keep < 1.0:
        few = parts.train.subset(np.arange(case.n_first))
        first, _ = kraft.train(few, permutations=permutations, **settings)
        importance = feature_importance(first, parts.valid.positions)
        chosen = select_features(importance, keep=case.keep)
        features, found = chosen.features, {"n_features": len(chosen.features)}
    force_field, result = kraft.train(
        parts.train, permutations=permutations, features=features, **settings
    )
    seconds = time.perf_counter() - begun
    return force_field, {
        **_errors(force_field, parts.test, forces_only=case.forces_only),
        "n_symmetries": len(result.permutations),
        "n_features": force_field.parameters.n_features,
        "n_train": len(parts.train),
        "n_test": len(parts.test),
        "seconds": seconds,
        **found,
    }


def _errors(force_field: kraft.ForceField, test: kraft.Dataset, *, forces_only: bool) -> Figures:
    energies, forces = force_field.predict(test.positions)[:2]
    figures = {"force_mae": KCAL * float(np.abs(forces - test.forces).mean())}
    if not forces_only:
        figures["energy_mae"] = KCAL * float(np.abs(energies - test.energies).mean())
    return figures
