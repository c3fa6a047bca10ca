"""Measuring a row."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from reporting import Figures

from . import catcher, peptide, small
from .cases import Experiment, Row
from .observables import Arrays
from .work import Work

EXPERIMENTS: dict[Experiment, Callable[[Row, Work], tuple[Figures, Arrays]]] = {
    "profile": small.profile,
    "md": small.ethanol_md,
    "pimd": small.ethanol_pimd,
    "cold": small.ethanol_cold,
    "dihedrals": small.pair,
    "peptide": peptide.equilibrium,
    "steered": peptide.steered,
    "catcher-md": catcher.md,
    "catcher-pimd": catcher.pimd,
}


@dataclass(frozen=True)
class Place:
    """Where rows work and what they leave.

    Attributes
    ----------
    data
        Folder of reference data.
    work
        Folder of models and of trajectories, so that a row that was killed goes on.
    arrays
        Folder of curves and distributions, one ``.npz`` for each row.
    keep
        Whether trajectories stay when a row is done.
    """

    data: Path
    work: Path
    arrays: Path
    keep: bool = False


def measure(name: str, row: Row, place: Place, *, threads: int, quick: bool = False) -> Figures:
    """Return the figures of a row; write its curves and distributions."""
    torch.set_num_threads(threads)
    work = Work(place.data, place.work, name, quick)
    begun = time.perf_counter()
    figures, arrays = EXPERIMENTS[row.experiment](row, work)
    place.arrays.mkdir(parents=True, exist_ok=True)
    kept = {key: np.asarray(value, dtype=np.float32) for key, value in arrays.items()}
    np.savez_compressed(place.arrays / f"{name}.npz", **kept)  # type: ignore[arg-type]
    if not place.keep:
        shutil.rmtree(work.folder, ignore_errors=True)
    return {
        **figures,
        "row": asdict(row),
        "models": work.models,
        "wall_seconds": time.perf_counter() - begun,
    }
