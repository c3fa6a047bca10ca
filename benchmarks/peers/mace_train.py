"""Train MACE for a given time of one core and time it; runs in an environment with mace-torch.

Request
    ``dataset``, ``train_indices``, ``valid_indices``, ``test_indices``: see ``frames.py``;
    ``seconds``: processor time for the training; ``channels`` (default 64); ``dtype`` (default
    ``"float32"``); ``batch_sizes`` (default [1, 64]), ``min_seconds``; ``only_times`` (default
    false): train next to nothing and time predictions.

Answer
    ``test`` (errors in kcal/mol and kcal/mol/Å), ``settings``, ``epochs``, ``seconds`` (processor
    time of ``training`` and ``calibration``, and the ``wall`` time),
    ``microseconds_per_geometry``; only the last and ``versions`` with ``only_times``.

``mace_run_train`` is run as its README shows (two layers, correlation 3, cutoff 5 Å, batches of 10,
exponential moving average, AMSGrad, energies weighed more in the last fifth of the epochs), with
half the channels; ``hour.py`` says for how many epochs.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from exchange import best_time, serve
from frames import Frames, errors, requested, versions
from hour import EV, run_module, train_for, write
from mace import data
from mace.calculators import MACECalculator
from mace.tools import torch_geometric, utils

LAST_PART = 0.8  # of the epochs, before energies are weighed more


def main(request: dict[str, Any]) -> dict[str, Any]:
    train, valid, test = requested(request)
    offset = float(train.energies.mean())
    only_times = bool(request.get("only_times"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, frames in (("train", train), ("valid", valid)):
            write(folder / f"{part}.xyz", frames, offset, "REF_energy", "REF_forces")
        trained = train_for(
            float(request.get("seconds", 0.0)), partial(run, folder, request), only_times=only_times
        )
        answer = tested(folder / f"{trained['name']}_stagetwo.model", test, offset, request)
    answer["versions"] = versions("mace-torch", "torch", "e3nn")
    if only_times:
        return answer
    kept = {key: trained[key] for key in ("epochs", "seconds")}
    return {**answer, **kept, "settings": settings(request)}


def settings(request: dict[str, Any]) -> dict[str, Any]:
    """Return the options of ``mace_run_train`` that make the model what it is."""
    channels = int(request.get("channels", 64))
    return {
        "model": "MACE",
        "E0s": "average",
        "num_interactions": 2,
        "correlation": 3,
        "hidden_irreps": f"{channels}x0e + {channels}x1o",
        "r_max": 5.0,
        "batch_size": 10,
        "ema_decay": 0.99,
        "default_dtype": request.get("dtype", "float32"),
    }


def run(folder: Path, request: dict[str, Any], name: str, epochs: int) -> float:
    """Train for so many epochs and return the processor time."""
    options = {
        **settings(request),
        "name": name,
        "work_dir": folder,
        "train_file": folder / "train.xyz",
        "valid_file": folder / "valid.xyz",
        "energy_key": "REF_energy",
        "forces_key": "REF_forces",
        "max_num_epochs": epochs,
        "start_stage_two": max(1, int(LAST_PART * epochs)),
        "eval_interval": max(1, min(5, epochs // 5)),
        "device": "cpu",
        "seed": 0,
        "num_workers": 0,
        "plot": False,
    }
    flags = ["--ema", "--amsgrad", "--stage_two"]
    given = [f"--{key}={value}" for key, value in options.items()]
    return run_module(folder, name, ["mace.cli.run_train", *given, *flags])


def tested(path: Path, test: Frames, offset: float, request: dict[str, Any]) -> dict[str, Any]:
    """Return errors and times of the trained model."""
    dtype = request.get("dtype", "float32")
    calculator = MACECalculator(model_paths=str(path), device="cpu", default_dtype=dtype)
    model = calculator.models[0]
    torch.set_default_dtype(getattr(torch, dtype))
    table = utils.AtomicNumberTable([int(z) for z in model.atomic_numbers])
    structures = [ase.Atoms(test.numbers, positions) for positions in test.positions]

    def predict(chosen: list[ase.Atoms]) -> tuple[np.ndarray, np.ndarray]:
        graphs = [
            data.AtomicData.from_config(
                data.config_from_atoms(atoms), z_table=table, cutoff=float(model.r_max)
            )
            for atoms in chosen
        ]
        loader = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs))
        output = model(next(iter(loader)).to_dict())
        return output["energy"].detach().numpy(), output["forces"].detach().numpy()

    parts = [predict(structures[first : first + 50]) for first in range(0, len(structures), 50)]
    energies = np.concatenate([part[0] for part in parts]) / EV + offset
    forces = np.concatenate([part[1] for part in parts]) / EV
    times = {}
    for size in request.get("batch_sizes", [1, 64]):
        chosen = structures[:size]
        if size == 1:
            call = stepping(calculator, chosen[0])
        else:
            call = lambda chosen=chosen: predict(chosen)  # noqa: E731
        spent = best_time(call, min_seconds=float(request.get("min_seconds", 1.0)))
        times[str(size)] = 1e6 * spent["best"] / len(chosen)
    return {"test": errors(energies, forces, test), "microseconds_per_geometry": times}


def stepping(calculator: Any, atoms: ase.Atoms) -> Any:
    """Return a call that predicts a geometry through ASE, as a step of dynamics does."""

    def call() -> None:
        calculator.calculate(atoms)

    return call


if __name__ == "__main__":
    serve(main)
