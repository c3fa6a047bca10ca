"""What every benchmark's page has: the machine, the versions, the commands, and its tables.

Figures are kept beside the page in a JSON file, so that a long benchmark can be run in parts: each
run replaces the figures it measured and the page is written anew from all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from peers.environment import sgdml_python

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "benchmarks"

Figures = dict[str, Any]


def arguments(description: str | None, page: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="threads of either side")
    parser.add_argument("--data", type=Path, default=default_data(), help="reference data")
    parser.add_argument("--output", type=Path, default=PAGES / f"{page}.md", help="page to write")
    parser.add_argument(
        "--quick", action="store_true", help="tiny run that proves the script works; no figures"
    )
    return parser


def default_data() -> Path:
    """Return the folder of reference data that the tests use too."""
    return Path(os.environ.get("KRAFT_REFERENCE_DATA") or ROOT.parent / "shared")


class Page:
    """A page of figures: ``add`` what was measured, then ``write`` it.

    Parameters
    ----------
    path
        The page; its figures are kept beside it with the suffix ``.json``.
    quick
        Keep nothing: print the page instead.
    threads
        Threads of the linear algebra, for the description of the machine.
    """

    def __init__(self, path: Path, *, quick: bool, threads: int) -> None:
        self._path, self._quick, self._threads = path, quick, threads
        self._store = path.with_suffix(".json")
        self._rows: dict[str, Figures] = {}
        if self._store.exists() and not quick:
            self._rows = json.loads(self._store.read_text(encoding="utf-8"))

    @property
    def rows(self) -> dict[str, Figures]:
        """All cases that have figures, by name."""
        return dict(self._rows)

    def has(self, key: str) -> bool:
        """Tell whether a case has figures."""
        return key in self._rows

    def figures(self, key: str) -> Figures:
        """Return what is known of a case, without how it came about; empty if nothing is."""
        return {name: value for name, value in self._rows.get(key, {}).items() if name != "how"}

    def add(self, key: str, figures: Figures) -> None:
        """Keep the figures of one case, in place of older ones."""
        command = " ".join(["python", *map(shlex.quote, _relative(sys.argv))])
        self._rows[key] = {**figures, "how": [command, *environment(self._threads)]}
        print(f"{key}: measured", file=sys.stderr, flush=True)

    def write(self, render: Callable[[dict[str, Figures]], str]) -> None:
        """Write the page that ``render`` makes of all figures."""
        text = render(self._rows) + _colophon(self._rows)
        if self._quick:
            print(text)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._store.write_text(json.dumps(self._rows, indent=1) + "\n", encoding="utf-8")
        self._path.write_text(text, encoding="utf-8")
        print(f"wrote {self._path}", file=sys.stderr)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a markdown table; numbers are aligned to the right by the renderer's rule."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def min_and_median(values: Sequence[float], scale: float = 1.0, digits: int = 3) -> str:
    """Return ``min (median)`` of repeats, each multiplied by ``scale``."""
    return f"{_figure(min(values) * scale, digits)} ({_figure(median(values) * scale, digits)})"


def number(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits and no exponent."""
    return _figure(value, digits)


def verdict(met: bool) -> str:
    """Return what a bar's cell says."""
    return "met" if met else "**not met**"


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder for models and positions."""
    return tempfile.TemporaryDirectory(prefix="kraft-benchmark-")


def environment(threads: int) -> list[str]:
    """Return the machine, the versions and the date, a line each."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ours = (
        f"kraft {version('kraft')} (commit {_commit()}), Python {platform.python_version()}, "
        f"torch {torch.__version__}, NumPy {version('numpy')}"
    )
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [f"{processor()}, {cores} cores, {threads} threads", ours, _peer_versions(), date]


def _colophon(rows: dict[str, Figures]) -> str:
    """Return how the figures came about: the cases made alike share an entry."""
    made: dict[tuple[str, ...], list[str]] = {}
    for key, row in rows.items():
        *same, date = row["how"]
        made.setdefault((*same,), []).append(f"{key} ({date})")
    lines = ["", "## How these figures were made", ""]
    for (command, machine, ours, theirs), keys in made.items():
        lines += [f"`{command}`", "", f"- {machine}", f"- {ours}", f"- {theirs}"]
        lines += [f"- {', '.join(keys)}", ""]
    return "\n".join(lines)


def _relative(command: list[str]) -> list[str]:
    """Return a command line with paths inside the project relative to its root."""
    parts = []
    for part in command:
        path = Path(part)
        if path.exists() and path.resolve().is_relative_to(ROOT):
            part = str(path.resolve().relative_to(ROOT))
        parts.append(part)
    return parts


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _peer_versions() -> str:
    code = (
        "import platform; from importlib.metadata import version as v; "
        "print(f'sgdml {v(\"sgdml\")}, Python {platform.python_version()}, '"
        'f\'torch {v("torch")}, NumPy {v("numpy")}\')'
    )
    done = subprocess.run([str(sgdml_python()), "-c", code], capture_output=True, text=True)
    return done.stdout.strip() or "sgdml: unknown"


def _figure(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    text = f"{float(f'{value:.{digits}g}'):f}"
    whole, _, fraction = text.partition(".")
    wanted = max(0, digits - len(whole.lstrip("-0")))
    if whole.lstrip("-0"):
        return f"{value:.{wanted}f}"
    leading = len(fraction) - len(fraction.lstrip("0"))
    return f"{value:.{leading + digits}f}"
