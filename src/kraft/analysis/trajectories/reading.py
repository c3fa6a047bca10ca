"""Reading trajectories piece by piece: XYZ text, everything else that ASE reads, sGDML archives.

Units come from the format, from the file or from the caller. What a convention decides is said in
a notice: lengths in Å for XYZ without a statement, momenta in ASE's units for extended XYZ.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ase.data
import ase.units
import numpy as np
from ase import Atoms

from kraft.analysis.trajectories.frames import Frames, interval_of, joined
from kraft.analysis.trajectories.ipi_files import time_step_of
from kraft.analysis.trajectories.xyz_text import TextFrame, atomic_numbers, xyz_frames
from kraft.core.errors import DataError, OptionError, UnitError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry_format import read_geometries
from kraft.data.units import Units

_TEXT_SUFFIXES = (".xyz", ".extxyz")
_CHUNK_NUMBERS = 1_500_000
"""Coordinates held at a time."""

_IPI_LENGTHS = {"angstrom": "Å", "atomic_unit": "bohr", "nanometer": "nm"}
_IPI_POSITIONS = ("positions", "x_centroid")

_CHECKED_INTERVAL = 2.5
"""Momenta are compared with the movement of the atoms where frames are at most this far apart (fs).

The slope of movement on momenta is tan(x)/x for a vibration that turns by 2x between frames.
"""
_SLOPES = (0.6, 1.8)


@dataclass(frozen=True)
class ReadingRules:
    """Which frames of a trajectory to read, and what its file does not say.

    Attributes
    ----------
    length_unit, energy_unit
        Units where the file does not state them.
    frame_time
        Femtoseconds between neighboring frames of the file, where it does not say.
    start, stop, every
        Frames to take, as in a Python slice; not negative.
    """

    length_unit: str | None = None
    energy_unit: str | None = None
    frame_time: float | None = None
    start: int = 0
    stop: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if self.start < 0 or self.every < 1 or (self.stop is not None and self.stop <= self.start):
            raise OptionError(
                f"Expected 0 <= start < stop and every >= 1, got start {self.start}, stop "
                f"{self.stop}, every {self.every}."
            )
        if self.frame_time is not None and not self.frame_time > 0.0:
            raise OptionError(f"Expected a positive frame time in fs, got {self.frame_time}.")


@dataclass(eq=False)
class TrajectoryFile:
    """A trajectory on disk.

    Parameters
    ----------
    path
        XYZ, extended XYZ or i-PI's XYZ, an sGDML ``.npz``, or anything else that ASE reads.
    rules
        What to read of it.

    Attributes
    ----------
    notices
        What was assumed; complete when all chunks have been read.

    Raises
    ------
    DataError
        When there is no such file or it cannot be read.
    """

    path: Path
    rules: ReadingRules = ReadingRules()
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        if self.path.is_dir() or not self.path.exists():
            what = "is a folder" if self.path.is_dir() else "is not there"
            raise DataError(f"{self.path} {what}. Expected the file of a trajectory.")

    def chunks(self, size: int | None = None) -> Iterator[Frames]:
        """Yield the frames in order, ``size`` at a time (by default as memory suggests).

        Raises
        ------
        DataError
            When the text is damaged, there are no frames, or the frames are not one molecule in
            one order of atoms and one cell.
        UnitError
            When a unit is unknown, or momenta are not in the unit they should be in.
        """
        first: Frames | None = None
        kept: list[Frames] = []
        for frame in self._frames():
            self._check(first, frame)
            first = first or frame
            kept.append(frame)
            if len(kept) == (size or max(1, _CHUNK_NUMBERS // max(1, frame.positions.size))):
                yield self._chunk(kept)
                kept = []
        if kept:
            yield self._chunk(kept)
        if first is None:
            raise DataError(
                f"{self.path.name} has no frame from number {self.rules.start} on. Choose others "
                "with --start and --stop."
            )

    def _frames(self) -> Iterator[Frames]:
        """Yield frames one by one."""
        if self.path.suffix in _TEXT_SUFFIXES:
            return self._from_text()
        return self._from_archive() if self.path.suffix == ".npz" else self._from_ase()

    def _from_text(self) -> Iterator[Frames]:
        rules = self.rules
        numbers, symbols, units = None, None, None
        index = rules.start
        for frame in xyz_frames(self.path, rules.start, rules.stop, rules.every):
            if frame is None:
                self._note(f"{self.path.name}: the last frame is incomplete and was left out.")
                return
            if symbols != frame.symbols or numbers is None:
                numbers, symbols = atomic_numbers(frame.symbols), frame.symbols
            if units is None:
                units = self._text_units(frame)
            elif frame.ipi() is None and frame.text("length_unit") != units.stated_length:
                raise UnitError(f"{self.path.name}: frame {index} states another length unit.")
            yield Frames(
                numbers,
                frame.columns["pos"][None] * units.length,
                _velocities(frame, numbers, units),
                _energy(frame, units),
                self._time(_stated_time(frame, units), index),
                _text_cell(frame, units, self.path.name),
                self.path.name,
            )
            index += rules.every

    def _text_units(self, frame: TextFrame) -> _TextUnits:
        """Return the units of the first frame; note what a convention decided."""
        ipi, rules, name, step = frame.ipi(), self.rules, self.path.name, None
        stated = frame.text("length_unit")
        length = rules.length_unit or stated
        if ipi is not None:
            _, quantity, unit = ipi
            if quantity not in _IPI_POSITIONS or unit not in _IPI_LENGTHS:
                raise DataError(
                    f"{name} holds {quantity} in {unit}. Expected positions of i-PI in angstrom "
                    "or atomic units; velocities are taken from their differences."
                )
            length = _IPI_LENGTHS[unit]
            self._note(f"{name}: i-PI's cell is not used; the molecule is taken as free.")
            if rules.frame_time is None and (found := time_step_of(self.path)) is not None:
                step = found.fs
                self._note(f"i-PI's steps are {step:.6g} fs long, as {found.source} says.")
        elif length is None:
            length = "Å"
            self._note(
                f"{name} does not state its length unit; taken as Å, the rule for XYZ "
                "(--length-unit for another)."
            )
        in_ase_units = "momenta" in frame.columns and Units(length=length).length == "Å"
        others = [key for key in frame.columns if key not in ("pos", "momenta")]
        if others or ("momenta" in frame.columns and not in_ase_units):
            what = others[0] if others else "momenta"
            self._note(f"{name}: its {what} are not used, since their unit is not known.")
        energy = rules.energy_unit or frame.text("energy_unit")
        if energy is None and frame.text("energy") is not None:
            self._note(
                f"{name}: its energies are not used, since their unit is not known (--energy-unit)."
            )
        return _TextUnits(
            Units(length=length).length_factor,
            None if energy is None else Units(energy).energy_factor,
            in_ase_units,
            stated,
            step,
        )

    def _from_ase(self) -> Iterator[Frames]:
        import ase.io  # slow: only where a file is read
        from ase.io.formats import filetype

        rules, name = self.rules, self.path.name
        try:
            format_name = str(filetype(str(self.path), read=True))
            numbered = slice(rules.start, rules.stop, rules.every)
            found = ase.io.iread(
                str(self.path), numbered, format=format_name, do_not_split_by_at_sign=True
            )
            for place, atoms in enumerate(found):
                yield self._from_atoms(atoms, rules.start + place * rules.every)
        except DataError:
            raise
        except Exception as error:  # the readers of 80 formats raise anything
            raise DataError(
                f"ASE cannot read {name}: {str(error) or type(error).__name__}. Expected a "
                "trajectory as extended XYZ or in another format that ASE reads."
            ) from error

    def _from_atoms(self, atoms: Atoms, index: int) -> Frames:
        factor = Units(length=self.rules.length_unit or "Å").length_factor
        energy = getattr(atoms.calc, "results", {}).get("energy")
        scale = Units(self.rules.energy_unit or "eV").energy_factor
        momenta = atoms.arrays.get("momenta")
        velocities = None
        if momenta is not None and factor == 1.0:
            velocities = (momenta / atoms.get_masses()[:, None] * ase.units.fs)[None]
        return Frames(
            atoms.numbers.astype(np.int64),
            atoms.positions[None] * factor,
            velocities,
            None if energy is None else np.array([float(energy) * scale]),
            self._time(atoms.info.get("time_fs"), index),
            np.array(atoms.cell[:]) * factor if atoms.pbc.any() else None,
            self.path.name,
        )

    def _from_archive(self) -> Iterator[Frames]:
        found = read_geometries(self.path, length_unit=self.rules.length_unit)
        self._note(f"{self.path.name} is an archive of geometries; their order is taken as time.")
        chosen = range(len(found))[self.rules.start : self.rules.stop : self.rules.every]
        for index in chosen:
            yield Frames(
                found.atomic_numbers,
                found.positions[index : index + 1],
                times=self._time(None, index),
                cell=found.cell,
                name=self.path.name,
            )

    def _time(self, stated: object, index: int) -> FloatArray | None:
        """Return the time of a frame in fs: as told, else as the file says."""
        if self.rules.frame_time is not None:
            return np.array([index * self.rules.frame_time])
        return None if stated is None else np.array([float(str(stated))])

    def _check(self, first: Frames | None, frame: Frames) -> None:
        if first is None:
            return
        name = self.path.name
        if frame.atomic_numbers is not first.atomic_numbers and not np.array_equal(
            frame.atomic_numbers, first.atomic_numbers
        ):
            raise DataError(
                f"{name}: expected one molecule in one order of atoms, but a frame has other "
                "atoms than the first. Write one file for each molecule."
            )
        if (frame.cell is None) != (first.cell is None) or (
            frame.cell is not None
            and first.cell is not None
            and not np.allclose(frame.cell, first.cell, atol=1e-8)
        ):
            raise DataError(f"{name}: expected one cell for all frames, but it changes.")

    def _chunk(self, kept: list[Frames]) -> Frames:
        chunk = joined(kept)
        require_momenta_as_moved(chunk)
        if chunk.energies is None and any(frame.energies is not None for frame in kept):
            self._note(f"{self.path.name}: some frames have no energy, so none is used.")
        return chunk

    def _note(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)


@dataclass(frozen=True)
class _TextUnits:
    """Factors to Å and eV, whether momenta are in ASE's, length unit as stated, fs of a step."""

    length: float
    energy: float | None
    momenta: bool
    stated_length: str | None
    step: float | None


def read_trajectory(
    path: str | os.PathLike[str],
    *,
    length_unit: str | None = None,
    energy_unit: str | None = None,
    frame_time: float | None = None,
    start: int = 0,
    stop: int | None = None,
    every: int = 1,
    progress: Progress = silent,
) -> Frames:
    """Read a trajectory into memory.

    Parameters
    ----------
    path
        XYZ, extended XYZ or i-PI's XYZ, an sGDML ``.npz``, or anything else that ASE reads.
    length_unit, energy_unit
        Units where the file does not state them. Lengths are in Å else; energies of XYZ files
        without a unit are left out.
    frame_time
        Femtoseconds between neighboring frames of the file, where neither it says (``time_fs=``)
        nor, for i-PI's, the table of properties or the input in its folder.
    start, stop, every
        Frames to take, as in a slice.
    progress
        Told how many frames have been read.

    Raises
    ------
    DataError, UnitError
        As :meth:`TrajectoryFile.chunks`.
    """
    rules = ReadingRules(length_unit, energy_unit, frame_time, start, stop, every)
    parts = []
    for part in TrajectoryFile(Path(path), rules).chunks():
        parts.append(part)
        progress("reading", sum(len(each) for each in parts), 0)
    return joined(parts)


def require_momenta_as_moved(frames: Frames) -> None:
    """Raise UnitError when velocities disagree with how positions change: a wrong unit.

    Looked at where frames are close enough in time for that, else not.
    """
    if frames.velocities is None or frames.times is None or len(frames) < 3:
        return
    try:
        interval = interval_of(frames.times, frames.name)
    except DataError:
        return  # only observables that need equal intervals mind
    if interval > _CHECKED_INTERVAL or frames.cell is not None:
        return
    moved = np.diff(frames.positions, axis=0) / interval
    mean = 0.5 * (frames.velocities[1:] + frames.velocities[:-1])
    size = float((mean * mean).sum())
    slope = float((moved * mean).sum()) / size if size > 0.0 else 1.0
    if not _SLOPES[0] < slope < _SLOPES[1]:
        raise UnitError(
            f"{frames.name}: atoms move {slope:.3g} times as fast as their momenta say. Expected "
            "momenta in ASE's units and times in fs: is --frame-time right, and who wrote the file?"
        )


def _stated_time(frame: TextFrame, units: _TextUnits) -> float | None:
    ipi = frame.ipi()
    if ipi is None or units.step is None:
        return frame.number("time_fs")
    return ipi[0] * units.step


def _velocities(frame: TextFrame, numbers: IntArray, units: _TextUnits) -> FloatArray | None:
    if not units.momenta or "momenta" not in frame.columns:
        return None
    masses = ase.data.atomic_masses[numbers]
    velocities: FloatArray = (frame.columns["momenta"] / masses[:, None] * ase.units.fs)[None]
    return velocities


def _energy(frame: TextFrame, units: _TextUnits) -> FloatArray | None:
    energy = None if units.energy is None else frame.number("energy")
    return None if energy is None or units.energy is None else np.array([energy * units.energy])


def _text_cell(frame: TextFrame, units: _TextUnits, name: str) -> FloatArray | None:
    """Return the cell of a periodic frame."""
    text, periodic = frame.text("Lattice"), frame.text("pbc")
    if text is None or (periodic is not None and "T" not in periodic.upper()):
        return None
    try:
        return np.array(text.split(), dtype=np.float64).reshape(3, 3) * units.length
    except ValueError as error:
        raise DataError(f"{name}: expected nine numbers in Lattice, got {text!r}.") from error
