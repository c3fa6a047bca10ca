"""Train NequIP for a given time of one core and time it; runs in an environment with nequip.

Request
    ``dataset``, ``train_indices``, ``valid_indices``, ``test_indices``: see ``frames.py``;
    ``seconds``: processor time for the training; ``batch_sizes`` (default [1, 64]),
    ``min_seconds``; ``only_times`` (default false): train next to nothing and time predictions.

Answer
    ``test`` (errors in kcal/mol and kcal/mol/Å), ``settings``, ``epochs``, ``seconds`` (processor
    time of ``training`` and ``calibration``, and the ``wall`` time),
    ``microseconds_per_geometry``; only the last and ``versions`` with ``only_times``.

``nequip-train`` is run with the preset S and what the tutorial's and the 3BPA configurations of its
authors have in common (cutoff 5 Å, batches of 5, Adam with a learning rate of 0.01, exponential
moving average, the rate lowered on a plateau); ``hour.py`` says for how many epochs.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols
from exchange import best_time, serve
from frames import Frames, errors, requested, versions
from hour import EV, run_module, train_for, write
from nequip.data import AtomicDataDict
from nequip.integrations.ase import NequIPCalculator

CUTOFF = 5.0
MONITORED = "val0_epoch/weighted_sum"


def main(request: dict[str, Any]) -> dict[str, Any]:
    train, valid, test = requested(request)
    offset = float(train.energies.mean())
    only_times = bool(request.get("only_times"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, frames in (("train", train), ("valid", valid)):
            write(folder / f"{part}.xyz", frames, offset, "energy", "forces")
        trained = train_for(
            float(request.get("seconds", 0.0)), partial(run, folder, train), only_times=only_times
        )
        answer = tested(folder / trained["name"] / "best.ckpt", test, offset, request)
    answer["versions"] = versions("nequip", "torch", "e3nn")
    if only_times:
        return answer
    kept = {key: trained[key] for key in ("epochs", "seconds")}
    return {**answer, **kept, "settings": SETTINGS}


SETTINGS = {
    "preset": "S",
    "num_layers": 2,
    "l_max": 1,
    "num_features": "128 + 64",
    "r_max": CUTOFF,
    "batch_size": 5,
    "lr": 0.01,
    "ema_decay": 0.995,
    "model_dtype": "float32",
}


def run(folder: Path, train: Frames, name: str, epochs: int) -> float:
    """Train for so many epochs and return the processor time."""
    (folder / f"{name}.yaml").write_text(json.dumps(configuration(folder, train, name, epochs)))
    given = [f"--config-path={folder}", f"--config-name={name}", f"hydra.run.dir={folder / name}"]
    return run_module(folder, name, ["nequip.scripts.train", *given])


def configuration(folder: Path, train: Frames, name: str, epochs: int) -> dict[str, Any]:
    """Return the configuration; JSON is YAML."""
    symbols = [chemical_symbols[number] for number in sorted(set(train.numbers.tolist()))]
    metrics = {
        "_target_": "nequip.train.EnergyForceMetrics",
        "coeffs": {"total_energy_mae": 1.0, "forces_mae": 1.0},
    }
    checkpoint = {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
        "monitor": MONITORED,
        "dirpath": str(folder / name),
        "filename": "best",
    }
    return {
        "run": ["train"],
        "data": _data(folder, symbols),
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": epochs,
            "check_val_every_n_epoch": 1,
            "log_every_n_steps": 20,
            "enable_progress_bar": False,
            "logger": False,
            "callbacks": [checkpoint],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": SETTINGS["ema_decay"],
            "loss": {
                "_target_": "nequip.train.EnergyForceLoss",
                "per_atom_energy": True,
                "coeffs": {"total_energy": 1.0, "forces": 1.0},
            },
            "val_metrics": metrics,
            "train_metrics": metrics,
            "test_metrics": metrics,
            "optimizer": {"_target_": "torch.optim.Adam", "lr": SETTINGS["lr"], "amsgrad": True},
            "lr_scheduler": {
                "scheduler": {
                    "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
                    "factor": 0.8,
                    "patience": 20,
                    "threshold": 0.0,
                },
                "monitor": MONITORED,
                "interval": "epoch",
                "frequency": 1,
            },
            "model": {
                "_target_": "nequip.model.PresetNequIPGNNModel",
                "preset": SETTINGS["preset"],
                "seed": 0,
                "model_dtype": SETTINGS["model_dtype"],
                "type_names": symbols,
                "r_max": CUTOFF,
                "avg_num_neighbors": "${training_data_stats:num_neighbors_mean}",
                "per_type_energy_scales": "${training_data_stats:forces_rms}",
                "per_type_energy_shifts": "${training_data_stats:per_atom_energy_mean}",
            },
        },
        "global_options": {"allow_tf32": False},
    }


def _data(folder: Path, symbols: list[str]) -> dict[str, Any]:
    loader = {"_target_": "torch.utils.data.DataLoader", "num_workers": 0}
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": 0,
        "train_file_path": str(folder / "train.xyz"),
        "val_file_path": str(folder / "valid.xyz"),
        "transforms": [
            {
                "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                "model_type_names": symbols,
            },
            {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": CUTOFF},
        ],
        "train_dataloader": {**loader, "batch_size": SETTINGS["batch_size"], "shuffle": True},
        "val_dataloader": {**loader, "batch_size": 50},
        "stats_manager": {
            "_target_": "nequip.data.CommonDataStatisticsManager",
            "dataloader_kwargs": {"batch_size": 50},
            "type_names": symbols,
        },
    }


def tested(path: Path, test: Frames, offset: float, request: dict[str, Any]) -> dict[str, Any]:
    """Return errors and times of the trained model."""
    calculator = NequIPCalculator._from_saved_model(
        str(path), device="cpu", chemical_species_to_atom_type_map=True
    )
    structures = [ase.Atoms(test.numbers, positions) for positions in test.positions]

    def predict(chosen: list[ase.Atoms]) -> tuple[np.ndarray, np.ndarray]:
        graphs = [calculator.atoms_to_data(atoms) for atoms in chosen]
        output = calculator.call_model(AtomicDataDict.batched_from_list(graphs))
        keys = (AtomicDataDict.TOTAL_ENERGY_KEY, AtomicDataDict.FORCE_KEY)
        energies, forces = (output[key].detach().numpy() for key in keys)
        return energies.ravel(), forces

    parts = [predict(structures[first : first + 50]) for first in range(0, len(structures), 50)]
    energies = np.concatenate([part[0] for part in parts]) / EV + offset
    forces = np.concatenate([part[1] for part in parts]) / EV
    times = {}
    for size in request.get("batch_sizes", [1, 64]):
        chosen = structures[:size]
        call = partial(calculator.calculate, chosen[0]) if size == 1 else partial(predict, chosen)
        spent = best_time(call, min_seconds=float(request.get("min_seconds", 1.0)))
        times[str(size)] = 1e6 * spent["best"] / len(chosen)
    return {"test": errors(energies, forces, test), "microseconds_per_geometry": times}


if __name__ == "__main__":
    serve(main)
