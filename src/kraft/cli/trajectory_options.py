"""Flags of the commands that read trajectories, and going through one or several of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import Group, Parameter

from kraft.analysis.trajectories import Frames, ReadingRules, TrajectoryFile, centroid, shortened
from kraft.analysis.trajectories.frames import interval_of
from kraft.analysis.trajectories.ipi_files import is_property_table
from kraft.cli.options import RESULT_GROUP
from kraft.cli.outputs import check_json, check_plot
from kraft.core.errors import DataError, OptionError
from kraft.core.progress import Progress
from kraft.core.typing import FloatArray
from kraft.data import Units

READING_GROUP = Group("Reading trajectories", sort_key=50)
_BEAD_CHUNK = 200

_BEAD_FILE = re.compile(r"\.pos_\d+\.xyz$")

Files = Literal["replicas", "beads", "centroid"]


@Parameter(name="*", group=READING_GROUP)
@dataclass(frozen=True)
class TrajectoryOptions:
    """How to read trajectories."""

    files: Annotated[
        Files,
        Parameter(
            help="What several files are: independent replicas, or the beads of one path integral "
            "(averages over them), or beads of which only the centroid is looked at."
        ),
    ] = "replicas"
    frame_time: Annotated[
        float | None, Parameter(help="fs between frames, where no file says.")
    ] = None
    length_unit: Annotated[
        str | None, Parameter(help="Unit of the positions where the file does not say: Å or bohr.")
    ] = None
    energy_unit: Annotated[
        str | None, Parameter(help="Unit of the energies where the file does not say: eV …")
    ] = None
    start: Annotated[int, Parameter(help="Number of the first frame to use.")] = 0
    stop: Annotated[int | None, Parameter(help="Number of the first frame not to use.")] = None
    every: Annotated[int, Parameter(help="Use every n-th frame.")] = 1

    def open(self, paths: Sequence[Path]) -> Simulations:
        """Return the trajectories; OptionError without any."""
        if not paths:
            raise OptionError("Expected at least one trajectory, for example run.xyz.")
        for path in paths:
            if is_table(path):
                raise OptionError(
                    f"{path.name} is a table of energies and has no positions. Give the trajectory "
                    "beside it; of tables there is `kraft analyze energy`."
                )
        return Simulations([TrajectoryFile(path, self.rules) for path in paths], self.files)

    @property
    def rules(self) -> ReadingRules:
        """Which frames to read, and what files do not say."""
        return ReadingRules(
            self.length_unit, self.energy_unit, self.frame_time, self.start, self.stop, self.every
        )


@Parameter(name="*", group=RESULT_GROUP)
@dataclass(frozen=True)
class ShowOptions:
    """Where results go."""

    plot: Annotated[Path | None, Parameter(help="File to draw them into (.png, .pdf, .svg).")] = (
        None
    )
    json: Annotated[Path | None, Parameter(help="File to write all figures to, for programs.")] = (
        None
    )

    def check(self) -> None:
        """Make sure that the files can be written; older ones will be replaced."""
        check_json(self.json)
        check_plot(self.plot)


@Parameter(name="*", group=RESULT_GROUP)
@dataclass(frozen=True)
class EnergyUnits:
    """The unit of energies."""

    units: Annotated[
        str, Parameter(help="Unit of energies to show: eV, meV, kcal/mol, kJ/mol, hartree …")
    ] = "eV"

    @property
    def chosen(self) -> Units:
        """The units to show."""
        return Units.parse(self.units)


def is_table(path: Path) -> bool:
    """Tell whether a file is a table of energies (of kraft md or i-PI), and no trajectory."""
    return path.suffix == ".csv" or (path.is_file() and is_property_table(path))


@dataclass(frozen=True, eq=False)
class Collected:
    """Values along the trajectories.

    Attributes
    ----------
    series
        For each trajectory its arrays ``(T, ...)``.
    times
        For each trajectory ``(T,)`` in fs, or None.
    independent
        Whether trajectories are independent of each other.
    """

    series: tuple[tuple[FloatArray, ...], ...]
    times: tuple[FloatArray | None, ...]
    independent: bool

    def column(self, index: int) -> list[FloatArray]:
        """Return one of the values, for each trajectory."""
        return [arrays[index] for arrays in self.series]

    def averaged(self, index: int) -> list[FloatArray]:
        """Return one of the values for each independent simulation: beads are averaged."""
        column = self.column(index)
        return column if self.independent else [np.mean(column, axis=0)]

    @property
    def n_frames(self) -> int:
        """Frames in all."""
        return sum(len(arrays[0]) for arrays in self.series)


class Simulations:
    """One or several trajectories, gone through in pieces.

    Parameters
    ----------
    files
        The trajectories.
    meaning
        What several are.
    """

    def __init__(self, files: Sequence[TrajectoryFile], meaning: Files) -> None:
        self.files, self.meaning = list(files), meaning
        self._own: list[str] = []
        beads = sum(_BEAD_FILE.search(file.path.name) is not None for file in self.files)
        if meaning == "replicas" and beads > 1:
            self._own.append(
                "The files are named like the beads of an i-PI simulation, but are taken as "
                "independent replicas: errors come out too small. Give --files beads or centroid."
            )

    @property
    def independent(self) -> bool:
        """Whether each series is a simulation of its own."""
        return self.meaning != "beads" or len(self.files) == 1

    @property
    def title(self) -> str:
        """Return what they are, for headings."""
        first = self.files[0].path.name
        if len(self.files) == 1:
            return first
        what = {
            "replicas": "replicas",
            "beads": "beads",
            "centroid": "beads, their centroid",
        }[self.meaning]
        return f"{first} ... ({len(self.files)} {what})"

    @property
    def notices(self) -> list[str]:
        """What was assumed in reading."""
        return list(dict.fromkeys(sum((file.notices for file in self.files), self._own[:])))

    def first(self) -> Frames:
        """Return the first frame: of the first trajectory, or of the centroid."""
        frame = next(iter(self.chunks(1)))[1]
        return shortened(frame, 1)

    def chunks(self, size: int | None = None) -> Iterator[tuple[int, Frames]]:
        """Yield pieces with the number of the series they belong to, one series after the other.

        Raises
        ------
        DataError
            As reading them; also when they are not of one molecule.
        """
        if self.meaning == "centroid" and len(self.files) > 1:
            for frames in self._centroid(size or _BEAD_CHUNK):
                yield 0, frames
            return
        known: Frames | None = None
        for number, file in enumerate(self.files):
            for frames in file.chunks(size):
                known = known or frames
                if not np.array_equal(known.atomic_numbers, frames.atomic_numbers):
                    raise DataError(
                        f"{file.path.name} has other atoms than {known.name}. Expected "
                        "trajectories of one molecule with one order of atoms."
                    )
                yield number, frames

    def _centroid(self, size: int) -> Iterator[Frames]:
        pieces = [file.chunks(size) for file in self.files]
        while True:
            found = [next(piece, None) for piece in pieces]
            beads = [frames for frames in found if frames is not None]
            if not beads:
                return
            n = min(len(frames) for frames in beads) if len(beads) == len(found) else 0
            if n < max(len(frames) for frames in beads):
                self._own.append(
                    "The beads have different numbers of frames; the ends of the longer ones were "
                    "left out."
                )
            if n:
                yield centroid([shortened(frames, n) for frames in beads])
            if n < size:
                return

    def collect(
        self, function: Callable[[Frames, Frames], tuple[FloatArray, ...]], progress: Progress
    ) -> Collected:
        """Return what ``function`` gives for frames and the first frame of their trajectory."""
        starts: dict[int, Frames] = {}
        parts: dict[int, list[tuple[FloatArray, ...]]] = {}
        times: dict[int, list[FloatArray | None]] = {}
        done = 0
        for number, frames in self.chunks():
            start = starts.setdefault(number, shortened(frames, 1))
            parts.setdefault(number, []).append(function(frames, start))
            times.setdefault(number, []).append(frames.times)
            done += len(frames)
            progress("reading", done, 0)
        joined = [tuple(map(np.concatenate, zip(*part, strict=True))) for part in parts.values()]
        when = [_joined_times(part) for part in times.values()]
        if not self.independent:
            n = min(len(arrays[0]) for arrays in joined)
            if n < max(len(arrays[0]) for arrays in joined):
                self._own.append(f"The beads have different numbers of frames; {n} are used.")
            joined = [tuple(array[:n] for array in arrays) for arrays in joined]
            when = [None if t is None else t[:n] for t in when]
        return Collected(tuple(joined), tuple(when), self.independent)

    def interval(self) -> float:
        """Return the time between frames in fs, by the first frames; errors as `interval_of`."""
        _, frames = next(iter(self.chunks(16)))
        return interval_of(frames.times, frames.name)


def _joined_times(parts: Sequence[FloatArray | None]) -> FloatArray | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
