"""Time the importance of all features of a model with random coefficients; kraft's interpreter.

Request
    ``dataset``; ``look_indices``, frames that importance is measured on; ``n_train``, training
    frames of the model; ``symmetric``: whether it has the symmetries found in the data.

Answer
    ``seconds``, ``threads``, ``n_train``, ``n_frames``, ``n_permutations``.
"""

from __future__ import annotations

import os

# As the command line does, before the libraries read them (`kraft/cli/entry.py`).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exchange import serve
from synthetic_model import write_synthetic_model

import kraft
from kraft.analysis.importance import feature_importance
from kraft.interfaces.sgdml import read_sgdml_model
from kraft.symmetry import find_permutations

FRAMES_FOR_SYMMETRIES = 200


def main(request: dict[str, Any]) -> dict[str, Any]:
    dataset = kraft.read(request["dataset"])
    frames = dataset.positions[np.array(request["look_indices"])]
    order = np.random.default_rng(0).permutation(len(dataset))[:FRAMES_FOR_SYMMETRIES]
    permutations = np.arange(dataset.n_atoms)[None]
    if request["symmetric"]:
        found = find_permutations(dataset.positions[order], dataset.atomic_numbers)
        permutations = found.permutations
    with tempfile.TemporaryDirectory() as folder:
        path = write_synthetic_model(
            Path(folder) / "model.npz",
            dataset.n_atoms,
            len(permutations),
            request["n_train"],
            molecule=dataset.positions[order[0]],
            permutations=permutations,
        )
        model = read_sgdml_model(path)
    feature_importance(model, frames[:1])  # what is prepared once
    start = time.perf_counter()
    feature_importance(model, frames)
    return {
        "seconds": time.perf_counter() - start,
        "threads": torch.get_num_threads(),
        "n_train": request["n_train"],
        "n_frames": len(frames),
        "n_permutations": len(permutations),
    }


if __name__ == "__main__":
    serve(main)
