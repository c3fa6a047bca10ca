"""What a file must hold at the least before it becomes a dataset."""

from __future__ import annotations

import numpy as np

from kraft.core.errors import DataError
from kraft.core.typing import IntArray
from kraft.data.dataset import Dataset


def require_usable(dataset: Dataset, source: str) -> Dataset:
    """Return ``dataset`` when it has frames and all its values are finite.

    Raises
    ------
    DataError
        Otherwise; the message names the frames.
    """
    if len(dataset) == 0:
        raise DataError(
            f"{source} holds no frames. Expected at least one geometry with forces; check that the "
            "calculation finished and that the file is the right one."
        )
    for name, frames in non_finite_frames(dataset).items():
        if len(frames):
            raise DataError(
                f"{source}: {name} are not finite (NaN or infinite) in {frame_list(frames)}. "
                "Expected numbers; remove these frames or repeat their calculations."
            )
    return dataset


def non_finite_frames(dataset: Dataset) -> dict[str, IntArray]:
    """Return the frames in which positions, forces or energies are not finite, by name."""
    bad = {
        "positions": ~np.isfinite(dataset.positions).all(axis=(1, 2)),
        "forces": ~np.isfinite(dataset.forces).all(axis=(1, 2)),
    }
    if dataset.energies is not None:
        bad["energies"] = ~np.isfinite(dataset.energies)
    return {name: np.flatnonzero(frames) for name, frames in bad.items()}


def frame_list(frames: IntArray, limit: int = 5) -> str:
    """Return frame numbers in words, the first few of them.

    Examples
    --------
    >>> frame_list(np.array([3]))
    'frame 3'
    >>> frame_list(np.arange(8))
    '8 frames (0, 1, 2, 3, 4, ...)'
    """
    if len(frames) == 1:
        return f"frame {frames[0]}"
    shown = ", ".join(str(frame) for frame in frames[:limit])
    more = ", ..." if len(frames) > limit else ""
    return f"{len(frames)} frames ({shown}{more})"
