"""Measure the time of a step of path-integral dynamics by i-PI: kraft's driver, and sgdml's.

Ethanol with 16 beads at 300 K, models of 200 to 1000 frames. Three drivers inside i-PI: kraft with
all beads in one prediction, kraft with one call per bead, and, where sgdml's environment is, sgdml
through its ASE calculator with the same model (converted) and random numbers. Writes
``docs/benchmarks/pimd.md``.

    python benchmarks/pimd_speed.py
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from peers.environment import PeerError, run_measured, run_peer
from reporting import Figures, Page, arguments, number, scratch, table, verdict

import kraft
import kraft.datasets
from kraft.interfaces.ipi import PathIntegral, prepare, read_table
from kraft.interfaces.ipi.input_file import DRIVER, INPUT
from kraft.interfaces.sgdml import write_sgdml_model

BAR = 15.0
SIZES = (200, 1000)
AGREEMENT = 1e-6  # eV, of the potential energy along the first steps
STEPS_SCRIPT = Path(__file__).parent / "peers" / "ipi_steps.py"
SGDML_DRIVER = Path(__file__).parent / "peers" / "sgdml_ipi_driver.py"


def main() -> None:
    parser = arguments(__doc__, "pimd")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="training frames")
    parser.add_argument("--beads", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1000, help="timed steps of kraft")
    parser.add_argument("--peer-steps", type=int, default=200, help="timed steps of sgdml")
    parser.add_argument("--no-sgdml", action="store_true", help="kraft only")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.steps, options.peer_steps = (20,), 10, 5
    page = Page(options.output, quick=options.quick, threads=options.threads)
    for size in options.sizes:
        page.add(f"{size} frames", measure(size, options))
        page.write(render)


def measure(n_train: int, options: Any) -> Figures:
    """Time all drivers on one model: kraft's batches before and after the others."""
    dataset = kraft.read(Path(kraft.datasets.__file__).with_name("ethanol_gfn2.npz"))
    parts = kraft.split(dataset, n_train=n_train, n_test=10, seed=0)
    force_field, _ = kraft.train(
        parts.train, kernel="matern52", length_scale=10.0, regularization=1e-10
    )
    with scratch() as name:
        root = Path(name)
        (root / "ipi").mkdir()
        found = importlib.util.find_spec("ipi")
        if found is None or found.submodule_search_locations is None:
            raise SystemExit("i-PI is not installed: pip install ipi")
        (root / "ipi" / "ipi").symlink_to(found.submodule_search_locations[0])
        sides = Sides(root, force_field, parts.test.positions[0], options)
        rows = [sides.kraft("first", batch=True), sides.kraft("single", batch=False)]
        peers = {} if options.no_sgdml else sides.sgdml()
        rows.append(sides.kraft("last", batch=True))
        bare = bare_prediction(force_field, parts.test.positions[0], options.beads)
        differences = {path: sides.difference("first", path) for path in peers}
    for path, difference in differences.items():
        if not difference < AGREEMENT:
            raise SystemExit(f"kraft and sgdml ({path}) differ by {difference:.1e} eV")
    return {
        "batched": [rows[0], rows[2]],
        "single": rows[1],
        "sgdml": peers,
        "differences_eV": differences,
        "bare_seconds": bare,
        "n_train": n_train,
        "n_beads": options.beads,
    }


class Sides:
    """The drivers, each in a folder and a process of its own."""

    def __init__(self, root: Path, force_field: kraft.ForceField, start: Any, options: Any) -> None:
        self._root, self._force_field, self._start = root, force_field, start
        self._options = options

    def kraft(self, name: str, *, batch: bool) -> list[float]:
        """Return the seconds of each step with kraft's driver."""
        options = self._options
        folder = self._folder(name, options.steps)
        if not batch:
            _replace(folder / INPUT, r"(<batch_size>) \d+ ", r"\1 1 ")
        request = self._request(folder)
        run = run_measured(
            sys.executable, STEPS_SCRIPT, request, threads=options.threads, watch_memory=False
        )
        return [float(value) for value in run["seconds"]]

    def sgdml(self) -> dict[str, list[float]]:
        """Return the seconds of each step with sgdml, without and with torch; {} where it lacks."""
        found = {}
        for path, torch in (("numpy", False), ("torch", True)):
            folder = self._folder(path, self._options.peer_steps)
            model = folder / "model.npz"
            write_sgdml_model(self._force_field, model, kraft.Units("kcal/mol"))
            shutil.copy(SGDML_DRIVER, folder / DRIVER)
            given = f"model: {model.name}, template: start.xyz, use_torch: {torch}"
            _replace(folder / INPUT, r"(<batch_size>) \d+ ", r"\1 1 ")
            _replace(folder / INPUT, r"<parameters>.*</parameters>", PARAMETERS.format(given))
            _replace(folder / INPUT, r"\n *<trajectory filename='extras'.*", "")
            try:
                run = run_peer(
                    STEPS_SCRIPT.name,
                    self._request(folder),
                    threads=self._options.threads,
                    watch_memory=False,
                )
            except PeerError as error:
                print(f"sgdml ({path}): {error}", file=sys.stderr)
                continue
            found[path] = [float(value) for value in run["seconds"]]
        return found

    def difference(self, ours: str, theirs: str) -> float:
        """Return the largest difference in eV of the potential energies of two runs."""
        tables = [read_table(self._root / name / "simulation.out") for name in (ours, theirs)]
        columns = [table["potential{electronvolt}"] for table in tables]
        common = min(2, *(len(column) for column in columns))  # later, rounding has grown
        return float(np.abs(columns[0][:common] - columns[1][:common]).max())

    def _folder(self, name: str, n_steps: int) -> Path:
        warmup = max(1, n_steps // 10)
        run = PathIntegral(n_steps + warmup, n_beads=self._options.beads, frame_interval=5)
        prepare(self._force_field, self._start, self._root / name, run)
        return self._root / name

    def _request(self, folder: Path) -> dict[str, Any]:
        n_steps = self._options.steps
        if folder.name in ("numpy", "torch"):
            n_steps = self._options.peer_steps
        return {
            "folder": str(folder),
            "input": INPUT,
            "ipi": str(self._root / "ipi"),
            "warmup": max(1, n_steps // 10),
        }


PARAMETERS = "<parameters> {{ {} }} </parameters>"


def bare_prediction(force_field: kraft.ForceField, start: Any, n_beads: int) -> float:
    """Return the shortest time of a prediction of all beads, without i-PI, in this process."""
    beads = start + np.random.default_rng(0).normal(scale=0.05, size=(n_beads, *start.shape))
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        force_field.predict(beads)
        times.append(time.perf_counter() - begun)
    return min(times)


def _replace(path: Path, pattern: str, text: str) -> None:
    old = path.read_text(encoding="utf-8")
    new = re.sub(pattern, text, old)
    if new == old:
        raise SystemExit(f"{path}: nothing matches {pattern}")
    path.write_text(new, encoding="utf-8")


def render(rows: dict[str, Figures]) -> str:
    """Return the page."""
    header = (
        *("model", "kraft, all beads at once", "kraft, bead by bead"),
        *("sgdml, ASE calculator", "ratio", f"bar of {BAR:g}", "prediction alone"),
        *("1 ns with kraft", "1 ns with sgdml"),
    )
    return "\n".join(
        [
            "# Path-integral dynamics",
            "",
            "Milliseconds of a step of i-PI, the median of all steps. Ethanol, "
            f"{next(iter(rows.values()))['n_beads']} beads, PILE-L, 0.5 fs.",
            "",
            table(header, [cells(name, row) for name, row in rows.items()]),
            NOTES,
        ]
    )


NOTES = """\
All drivers run inside i-PI's process (`<ffdirect>`) on the same model, start and random numbers;
their potential energies agree along the first steps. sgdml is called through its own ASE calculator
for one bead after the other, as i-PI's `<ffsgdml>` calls sgdml; the faster of its two paths counts,
and is named. kraft's batches are timed before and after the others, and the faster run counts.
*Prediction alone* is the shortest time of one prediction of all beads without i-PI: the rest of a
step is i-PI's own work. 1 ns is 2 million steps.
"""


def cells(name: str, row: Figures) -> list[str]:
    """Return the cells of one model."""
    batched = min(median(seconds) for seconds in row["batched"])
    single = median(row["single"])
    theirs = {path: median(seconds) for path, seconds in row["sgdml"].items()}
    peer, ratio, bar, ours = "not measured", "", "", f"{number(2e6 * batched / 3600)} h"
    peer_ns = ""
    if theirs:
        path = min(theirs, key=lambda key: theirs[key])
        peer, ratio = f"{number(1e3 * theirs[path])} ({path})", number(theirs[path] / batched)
        bar = verdict(theirs[path] / batched >= BAR)
        peer_ns = f"{number(2e6 * theirs[path] / 3600)} h"
    return [
        *(name, number(1e3 * batched), number(1e3 * single), peer, ratio, bar),
        *(number(1e3 * row["bare_seconds"]), ours, peer_ns),
    ]


if __name__ == "__main__":
    main()
