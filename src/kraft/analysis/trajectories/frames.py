"""Frames of a trajectory in memory: positions and what a file says beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import ase.data
import numpy as np

from kraft.core.errors import DataError, UnitError
from kraft.core.typing import FloatArray, IntArray

_SAME_INTERVAL = 1e-3
"""Times are equally spaced when intervals agree to this relative accuracy."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one molecule, one after the other in time.

    Attributes
    ----------
    atomic_numbers
        ``(N,)``.
    positions
        ``(T, N, 3)`` in Å.
    velocities
        ``(T, N, 3)`` in Å/fs, or None where the file has none.
    energies
        ``(T,)`` potential energies in eV, or None.
    times
        ``(T,)`` in fs, or None where the file does not say.
    cell
        ``(3, 3)`` in Å, rows are vectors, or None for a free molecule.
    name
        Where they come from, for messages.
    """

    atomic_numbers: IntArray
    positions: FloatArray
    velocities: FloatArray | None = None
    energies: FloatArray | None = None
    times: FloatArray | None = None
    cell: FloatArray | None = None
    name: str = "the trajectory"

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def masses(self) -> FloatArray:
        """``(N,)`` standard atomic masses in u."""
        masses: FloatArray = ase.data.atomic_masses[self.atomic_numbers]
        return masses

    @property
    def interval(self) -> float:
        """Time between two frames in fs.

        Raises
        ------
        UnitError
            When the times are not known.
        DataError
            When there are fewer than two frames or they are not equally spaced.
        """
        return interval_of(self.times, self.name)

    def require_energies(self) -> FloatArray:
        """Return the energies ``(T,)`` in eV; UnitError where there are none."""
        if self.energies is None:
            raise UnitError(
                f"{self.name} has no energies whose unit is known. Expected energy= in every "
                "frame, with the unit in the file (energy_unit=eV) or given by --energy-unit "
                "(Python: energy_unit=)."
            )
        return self.energies


def interval_of(times: FloatArray | None, name: str) -> float:
    """Return the interval of equally spaced times ``(T,)`` in fs; errors as `Frames.interval`."""
    if times is None:
        raise UnitError(
            f"{name} does not say at which times its frames are. Give the femtoseconds between "
            "two frames with --frame-time (Python: frame_time=)."
        )
    if len(times) < 2:
        raise DataError(f"{name} has {len(times)} frame; expected at least 2 to know the interval.")
    steps = np.diff(times)
    step = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - step) > _SAME_INTERVAL * abs(step))
    if step <= 0.0 or odd.size:
        at = int(odd[0]) + 1 if odd.size else 1
        raise DataError(
            f"{name}: expected frames at equal intervals, but frame {at} comes "
            f"{steps[at - 1]:g} fs after the one before it, as a rule it is {step:g} fs. Choose a "
            "part of the trajectory with --start and --stop, or write it anew."
        )
    return float((times[-1] - times[0]) / (len(times) - 1))


def joined(parts: Sequence[Frames]) -> Frames:
    """Return chunks of one trajectory as one.

    Raises
    ------
    DataError
        When there is no frame.
    """
    if not parts:
        raise DataError("There are no frames in this part of the trajectory.")

    def together(name: str) -> FloatArray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    return replace(
        parts[0],
        positions=np.concatenate([part.positions for part in parts]),
        velocities=together("velocities"),
        energies=together("energies"),
        times=together("times"),
    )


def centroid(beads: Sequence[Frames]) -> Frames:
    """Return the centroid of the beads of a path integral: the mean of their positions.

    Velocities and energies are means over the beads, too, where all beads have them; the mean
    energy is the estimator of the potential energy.

    Raises
    ------
    DataError
        When the beads are not the same molecule with the same number of frames.
    """
    first = beads[0]
    for bead in beads:
        if bead.positions.shape != first.positions.shape or not np.array_equal(
            bead.atomic_numbers, first.atomic_numbers
        ):
            raise DataError(
                f"Expected the beads of one molecule with equal numbers of frames, got "
                f"{bead.name} with {bead.positions.shape[:2]} frames and atoms, {first.name} with "
                f"{first.positions.shape[:2]}."
            )

    def mean(name: str) -> FloatArray | None:
        arrays = [getattr(bead, name) for bead in beads]
        return None if any(array is None for array in arrays) else np.mean(arrays, axis=0)

    return replace(
        first,
        positions=np.mean([bead.positions for bead in beads], axis=0),
        velocities=mean("velocities"),
        energies=mean("energies"),
        name=f"the centroid of {len(beads)} beads",
    )


def shortened(frames: Frames, n: int) -> Frames:
    """Return the first ``n`` frames."""

    def cut(array: FloatArray | None) -> FloatArray | None:
        return None if array is None else array[:n]

    return replace(
        frames,
        positions=frames.positions[:n],
        velocities=cut(frames.velocities),
        energies=cut(frames.energies),
        times=cut(frames.times),
    )
