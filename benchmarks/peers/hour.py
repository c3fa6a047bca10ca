"""Training a neural network for a given time of one core; runs in the networks' environments.

Their programs count epochs and know no limit of processor time: two short runs find how long an
epoch takes, and the number of epochs follows. Processor time is counted, so that other programs on
the machine do not shorten the training; on an idle machine it is the wall time of one thread.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import ase
import ase.io
from frames import Frames

EV = 0.0433641153087705  # kcal/mol in eV
CALIBRATION_EPOCHS = (1, 4)
FEWEST_EPOCHS = 2


def train_for(
    seconds: float, run: Callable[[str, int], float], *, only_times: bool
) -> dict[str, Any]:
    """Train for so many seconds and return ``name``, ``epochs`` and ``seconds``.

    Parameters
    ----------
    seconds
        Processor time of the training, without that of the calibration.
    run
        Trains under a name for so many epochs and returns the processor time.
    only_times
        Train a few epochs: a prediction of the model takes as long as one of a trained model.
    """
    start = time.perf_counter()
    if only_times:
        run("calibration", FEWEST_EPOCHS)
        return {"name": "calibration", "epochs": FEWEST_EPOCHS, "seconds": {}}
    few, more = CALIBRATION_EPOCHS
    spent = [run(f"calibration-{epochs}", epochs) for epochs in CALIBRATION_EPOCHS]
    per_epoch = max(1e-3, (spent[1] - spent[0]) / (more - few))
    epochs = max(FEWEST_EPOCHS, int(seconds / per_epoch))
    training = run("trained", epochs)
    wall = time.perf_counter() - start
    given = {"training": training, "calibration": sum(spent), "wall": wall}
    return {"name": "trained", "epochs": epochs, "seconds": given}


def run_module(folder: Path, name: str, arguments: list[str]) -> float:
    """Run ``python -m`` in a folder and return its processor time in seconds."""
    before = getrusage(RUSAGE_CHILDREN)
    path = folder / f"{name}.log"
    with path.open("w") as log:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(path.read_text(errors="replace")[-3000:])
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write(path: Path, frames: Frames, offset: float, energy: str, forces: str) -> None:
    """Write frames as extended XYZ in eV and Å, with energies relative to ``offset``."""
    made = []
    for positions, value, slope in zip(
        frames.positions, frames.energies, frames.forces, strict=True
    ):
        atoms = ase.Atoms(frames.numbers, positions)
        atoms.info[energy] = (value - offset) * EV
        atoms.arrays[forces] = slope * EV
        made.append(atoms)
    ase.io.write(path, made, format="extxyz")
