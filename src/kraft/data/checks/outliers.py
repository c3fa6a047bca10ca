"""Frames whose energy or forces stand apart from all others."""

from __future__ import annotations

import numpy as np

from kraft.core.typing import FloatArray, IntArray
from kraft.data.checks.report import Finding
from kraft.data.dataset import Dataset
from kraft.data.validity import frame_list

_LIMIT = 8.0
"""Distance from the median, in robust standard deviations, beyond which a frame may be apart."""

_GAP = 4.0
"""Empty space, in the same unit, that separates such a frame from the rest."""

_MAX_SHARE = 0.02
"""What more frames than this share have in common is a part of the distribution."""

_MIN_FRAMES = 20


def check_outliers(dataset: Dataset) -> list[Finding]:
    """Find outliers of the energy and of the largest force (warnings)."""
    if len(dataset) < _MIN_FRAMES:
        return []
    units = dataset.units
    findings = []
    if dataset.energies is not None:
        findings += _judge(
            dataset.energies / units.energy_factor,
            "energy-outliers",
            "energy",
            units.energy_label,
        )
    largest = np.sqrt(np.sum(dataset.forces**2, axis=2)).max(axis=1)
    findings += _judge(
        largest / units.force_factor, "force-outliers", "largest force", units.force_label
    )
    return findings


def outliers(values: FloatArray) -> IntArray:
    """Return the indices of the few values that stand apart from all others.

    A value stands apart when it lies more than 8 robust standard deviations (1.4826 times the
    median absolute deviation) from the median and beyond an empty gap of at least 4: a long tail
    alone, as of a set sampled at several temperatures, is none.
    """
    deviation = values - np.median(values)
    spread = 1.4826 * float(np.median(np.abs(deviation)))
    if spread == 0.0:
        return np.array([], dtype=np.int64)
    scores = deviation / spread
    apart = (scores > _edge(scores)) | (-scores > _edge(-scores))
    return np.flatnonzero(apart)


def _edge(scores: FloatArray) -> float:
    """Return the score above which values stand apart, infinity when none do."""
    n_most = max(1, int(_MAX_SHARE * len(scores)))
    top = np.sort(scores)[-n_most - 1 :]
    gaps = np.flatnonzero((np.diff(top) > _GAP) & (top[1:] > _LIMIT))
    return float(top[gaps[0]]) if len(gaps) else float("inf")


def _judge(values: FloatArray, code: str, name: str, label: str) -> list[Finding]:
    frames = outliers(values)
    if len(frames) == 0:
        return []
    median = float(np.median(values))
    worst = int(frames[np.abs(values[frames] - median).argmax()])
    return [
        Finding(
            "warning",
            code,
            f"The {name} is far from all others in {frame_list(frames)}: in frame {worst} it is "
            f"{values[worst] - median:+.4g} {label} from the median.",
            "Look at these frames: an unconverged calculation, another electronic state or a "
            "broken molecule misleads the training.",
            tuple(frames.tolist()),
        )
    ]
