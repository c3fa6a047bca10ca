"""States that i-PI saved, and outputs cut to them.

i-PI writes checkpoints in place and outputs through buffers, so a run that was killed may leave an
unfinished checkpoint, and outputs that are behind or ahead of it. The newest checkpoint counts that
is whole and that all outputs reach; what came after it is cut off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from kraft.core.errors import OptionError
from kraft.core.files import atomic_path
from kraft.interfaces.ipi.input_file import ALARMS, PREFIX

RESUME = "resume.xml"
"""Input of a resumed run: a saved state with the new number of steps."""

RESTART = "RESTART"
"""What i-PI saves when it stops."""

KEPT = 3
"""Numbered checkpoints that are kept."""

_STEP = re.compile(rb"(?:Step:\s+|\bstep=)(\d+)")


@dataclass(frozen=True, eq=False)
class SavedState:
    """A state that i-PI saved.

    Attributes
    ----------
    path
        Its file.
    step
        Steps done.
    root
        Its content.
    """

    path: Path
    step: int
    root: ElementTree.Element

    @classmethod
    def read(cls, path: Path) -> SavedState | None:
        """Read a file; None when it is unfinished or there is none."""
        try:
            root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError):
            return None
        step = root.findtext("step")
        return cls(path, 0 if step is None else int(step), root)

    def write_input(self, path: Path, n_steps: int, parameters: str) -> None:
        """Write the input that goes on from here until ``n_steps`` are done.

        ``parameters`` are those of the driver.
        """
        for name, text in (("total_steps", f" {n_steps} "), ("ffdirect/parameters", parameters)):
            element = self.root.find(name)
            if element is None:
                raise OptionError(f"{self.path} lacks {name}: it is no state that i-PI saved here.")
            element.text = text
        with atomic_path(path) as temporary:
            ElementTree.ElementTree(self.root).write(temporary, encoding="utf-8")


def checkpoints(folder: Path) -> list[Path]:
    """Return the numbered checkpoints of a folder, oldest first."""
    found = folder.glob(f"{PREFIX}.checkpoint_*")
    numbered = [(int(path.name.rpartition("_")[2]), path) for path in found]
    return [path for _, path in sorted(numbered)]


def prune_checkpoints(folder: Path) -> None:
    """Remove all numbered checkpoints but the newest ones."""
    for path in checkpoints(folder)[:-KEPT]:
        path.unlink(missing_ok=True)


def saved_states(folder: Path) -> list[SavedState]:
    """Return the whole states of a folder, the one with most steps first."""
    paths = [folder / RESTART, *reversed(checkpoints(folder)), folder / RESUME]
    found = [state for path in paths if (state := SavedState.read(path)) is not None]
    return sorted(found, key=lambda state: -state.step)


def last_step(folder: Path) -> int:
    """Return how many steps the newest state has done."""
    states = saved_states(folder)
    return states[0].step if states else 0


def outputs(folder: Path) -> list[Path]:
    """Return the table, the trajectories and the extras of a folder."""
    found = folder.glob(f"{PREFIX}.*")
    return sorted(path for path in found if ".checkpoint_" not in path.name)


def rewind(folder: Path, frame_interval: int) -> SavedState | None:
    """Bring a folder to its newest usable state and return it; None when there is none.

    A state without any step is none: the input does the same, and outputs may not have it yet.

    Outputs, which have a frame every ``frame_interval`` steps, and alarms are cut to the state;
    newer states are removed.

    Raises
    ------
    OptionError
        When there are states, but outputs are missing or too short for all of them.
    """
    states, files = saved_states(folder), outputs(folder)
    if not any(state.step for state in states):
        cut_alarms(folder, 0)
        return None
    short = ""
    for state in states:
        wanted = state.step - state.step % frame_interval
        ends = {path: _end(path, state.step, wanted) for path in files}
        behind = [path.name for path, end in ends.items() if end is None]
        if not behind and files:
            for path, end in ends.items():
                os.truncate(path, end or 0)
            cut_alarms(folder, state.step)
            for newer in states:
                if newer.path != state.path and newer.step >= state.step:
                    newer.path.unlink(missing_ok=True)
            return state
        short = ", ".join(behind[:3])
    raise OptionError(
        f"The outputs in {folder} end before every saved state ({short or 'there are none'}): they "
        "were changed or removed. Start anew without --resume (and with --overwrite)."
    )


def cut_alarms(folder: Path, step: int) -> None:
    """Cut off the alarms after a step, and one that was not written to its end."""
    path = folder / ALARMS
    if not path.exists():
        return
    if end := _end(path, step, -1):
        os.truncate(path, end)
    else:
        path.unlink()


def _end(path: Path, step: int, wanted: int) -> int | None:
    """Return where the frames up to ``step`` end in bytes; None when that of ``wanted`` lacks."""
    frames = _rows(path) if path.name.endswith(".out") else _frames(path)
    reached, end = -1, 0
    for number, stop in frames:
        if number > step:
            break
        reached, end = number, stop
    return end if reached >= wanted else None


def _rows(path: Path) -> Iterator[tuple[int, int]]:
    """Yield step and end of each whole row of a table; lines of the head belong to the first."""
    place = 0
    with path.open("rb") as handle:
        for line in handle:
            place += len(line)
            if not line.startswith(b"#") and line.endswith(b"\n"):
                yield int(float(line.split()[0])), place


def _frames(path: Path) -> Iterator[tuple[int, int]]:
    """Yield step and end of each whole frame of an XYZ trajectory or of a file of extras."""
    place = 0
    with path.open("rb") as handle:
        while line := handle.readline():
            lines = [line]
            if not line.lstrip().startswith(b"#"):  # XYZ: number of atoms, comment, atoms
                lines += [handle.readline() for _ in range(int(line) + 1)]
                comment = lines[1]
            else:
                lines.append(handle.readline())
                comment = line
            step = _STEP.search(comment)
            if step is None or not all(text.endswith(b"\n") for text in lines):
                return
            place += sum(map(len, lines))
            yield int(step.group(1)), place
