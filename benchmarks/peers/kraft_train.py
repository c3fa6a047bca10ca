"""Train kraft on exactly given frames; runs with kraft's interpreter, measured like the peers.

Request
    ``dataset``: any file kraft reads; ``train_indices``; ``kernel``; ``length_scale``;
    ``regularization``; ``model``: where the model is written.

Answer
    ``model``, ``length_scale``, ``n_permutations``, ``relative_residual`` and ``seconds``: those of
    the stages and ``total``, from the data in memory to the finished model, symmetries and
    integration constant included.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from exchange import serve

import kraft


def main(request: dict[str, Any]) -> dict[str, Any]:
    training = kraft.read(request["dataset"]).subset(np.array(request["train_indices"]))
    start = time.perf_counter()
    model, result = kraft.train(
        training,
        kernel=request["kernel"],
        length_scale=request["length_scale"],
        regularization=request["regularization"],
    )
    total = time.perf_counter() - start
    model.save(request["model"])
    return {
        "model": request["model"],
        "length_scale": result.choice.length_scale,
        "n_permutations": len(result.permutations),
        "relative_residual": result.outcome.relative_residual,
        "seconds": {**asdict(result.timings), "total": total},
        "torch_threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    serve(main)
