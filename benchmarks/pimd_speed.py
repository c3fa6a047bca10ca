"""Measure the time of a step of path-integral dynamics by i-PI: kraft's driver, and sgdml's.

Ethanol with 16 beads at 300 K, a model of the size of 1000 frames. Drivers inside i-PI: kraft with
all beads in one prediction, kraft with one call per bead, one that does nothing, and sgdml with the
same model (converted) and random numbers: i-PI's ``<ffsgdml>`` and sgdml's ASE calculator. Writes
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
from padded_model import padded_model
from peers.environment import PeerError, run_measured, run_peer
from reporting import Figures, Page, arguments, number, scratch, table, verdict

import kraft
import kraft.datasets
from kraft.interfaces.ipi import PathIntegral, prepare, read_table
from kraft.interfaces.ipi.input_file import DRIVER, INPUT
from kraft.interfaces.sgdml import write_sgdml_model

BAR = 15.0
SIZES = (1000,)
TRAINED = 100
AGREEMENT = 1e-6  # eV, of the potential energy along the first steps
FFSGDML_AGREEMENT = 0.5  # eV of thousands: i-PI's kcal/mol is another one
STEPS_SCRIPT = Path(__file__).parent / "peers" / "ipi_steps.py"
SGDML_DRIVER = Path(__file__).parent / "peers" / "sgdml_ipi_driver.py"


def main() -> None:
    parser = arguments(__doc__, "pimd")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="training frames")
    parser.add_argument("--beads", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1000, help="timed steps of kraft")
    parser.add_argument("--peer-steps", type=int, default=200, help="timed steps of sgdml")
    parser.add_argument("--slow-steps", type=int, default=20, help="of sgdml as it sets itself up")
    parser.add_argument("--no-sgdml", action="store_true", help="kraft only")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.steps, options.peer_steps, options.slow_steps = (150,), 10, 5, 5
    page = Page(options.output, quick=options.quick, threads=options.threads)
    for size in options.sizes:
        key = f"{size} frames, {options.threads} thread{'s' * (options.threads > 1)}"
        page.add(key, measure(size, options))
        page.write(render)


def measure(n_train: int, options: Any) -> Figures:
    """Time all drivers on one model: kraft's batches before and after the others."""
    dataset = kraft.read(Path(kraft.datasets.__file__).with_name("ethanol_gfn2.npz"))
    force_field = padded_model(dataset, TRAINED, n_train)
    geometries = force_field.parameters.training_positions
    if geometries is None:
        raise AssertionError("the model has its training geometries")
    start = geometries[0]
    with scratch() as name:
        root = Path(name)
        (root / "ipi").mkdir()
        found = importlib.util.find_spec("ipi")
        if found is None or found.submodule_search_locations is None:
            raise SystemExit("i-PI is not installed: pip install ipi")
        (root / "ipi" / "ipi").symlink_to(found.submodule_search_locations[0])
        sides = Sides(root, force_field, start, options)
        rows = [sides.kraft("first", batch=True), sides.kraft("single", batch=False)]
        peers = {} if options.no_sgdml else sides.sgdml()
        rows.append(sides.kraft("last", batch=True))
        idle = sides.idle()
        bare = bare_prediction(force_field, start, options.beads)
        differences = {path: sides.difference("first", path) for path in peers}
    for path, difference in differences.items():
        if not difference < (FFSGDML_AGREEMENT if path == "ffsgdml" else AGREEMENT):
            raise SystemExit(f"kraft and sgdml ({path}) differ by {difference:.1e} eV")
    return {
        "batched": [rows[0], rows[2]],
        "single": rows[1],
        "sgdml": peers,
        "differences_eV": differences,
        "bare_seconds": bare,
        "idle": idle,
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

    def idle(self) -> list[float]:
        """Return the seconds of each step with a driver that does nothing."""
        folder = self._folder("idle", self._options.steps)
        (folder / DRIVER).write_text(IDLE_DRIVER, encoding="utf-8")
        _replace(folder / INPUT, r"<parameters>.*</parameters>", "<parameters> {} </parameters>")
        _replace(folder / INPUT, r"\n *<trajectory filename='extras'.*", "")
        run = run_measured(
            sys.executable,
            STEPS_SCRIPT,
            self._request(folder),
            threads=self._options.threads,
            watch_memory=False,
        )
        return [float(value) for value in run["seconds"]]

    def sgdml(self) -> dict[str, list[float]]:
        """Return the seconds of each step with sgdml on each of its paths that works."""
        found = {}
        for path in SGDML_PATHS:
            folder = self._folder(path, self._steps(path))
            model = folder / "model.npz"
            write_sgdml_model(self._force_field, model, kraft.Units("kcal/mol"))
            shutil.copy(SGDML_DRIVER, folder / DRIVER)
            given = f"model: {model.name}, template: start.xyz, path: {path}"
            _replace(folder / INPUT, r"(<batch_size>) \d+ ", r"\1 1 ")
            _replace(folder / INPUT, r"<parameters>.*</parameters>", PARAMETERS.format(given))
            _replace(folder / INPUT, r"\n *<trajectory filename='extras'.*", "")
            if path == "ffsgdml":
                _replace(folder / INPUT, r"(?s)<ffdirect.*</ffdirect>", FFSGDML.format(model.name))
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

    def _steps(self, name: str) -> int:
        if name in ("ffsgdml", "ase"):
            return int(self._options.slow_steps)
        return int(self._options.peer_steps if name in SGDML_PATHS else self._options.steps)

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
        n_steps = self._steps(folder.name)
        return {
            "folder": str(folder),
            "input": INPUT,
            "ipi": str(self._root / "ipi"),
            "warmup": max(1, n_steps // 10),
        }


PARAMETERS = "<parameters> {{ {} }} </parameters>"
FFSGDML = "<ffsgdml name='kraft' pbc='False'> <sGDML_model> {} </sGDML_model> </ffsgdml>"
SGDML_PATHS = {
    "ffsgdml": "i-PI's ffsgdml",
    "ase": "ASE calculator",
    "torch": "ASE calculator, torch",
    "alone": "ASE calculator, one process",
}
IDLE_DRIVER = '''"""A driver without forces."""

import numpy as np

__DRIVER_NAME__ = "idle"
__DRIVER_CLASS__ = "Idle"


class Idle:
    def __init__(self, **_):
        pass

    def __call__(self, cell, pos):
        return [(0.0, np.zeros_like(one), np.zeros((3, 3)), "") for one in pos]
'''


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
    n_beads = next(iter(rows.values()))["n_beads"]
    return "\n".join(
        [
            "# Path-integral dynamics",
            "",
            "Made by `benchmarks/pimd_speed.py`. Milliseconds of a step of i-PI, the median of all",
            f"steps. Ethanol, {n_beads} beads, 300 K, PILE-L, 0.5 fs.",
            "",
            table(OURS_HEADER, [our_cells(name, row) for name, row in rows.items()]),
            table(PEER_HEADER, [cells for name, row in rows.items() for cells in peers(name, row)]),
            NOTES,
        ]
    )


OURS_HEADER = (
    *("model", "kraft, all beads at once", "kraft, bead by bead", "driver that does nothing"),
    *("prediction of all beads alone", "1 ns with kraft"),
)
PEER_HEADER = ("model", "sgdml by", "step", "ratio", "1 ns with sgdml", f"bar of {BAR:g}")

NOTES = """\
All drivers run inside i-PI's process on the same model, start and random numbers; their potential
energies agree along the first steps, to 1e-6 eV or, with i-PI's own conversion of units in
`<ffsgdml>`, to 0.01 %. *ffsgdml* is i-PI's own `<ffsgdml>`, *ASE calculator* a driver
that calls `SGDMLCalculator(model)` for one bead after the other; both let sgdml look for its
fastest settings for one geometry. With two processors sgdml 1.0.3 then tries chunks of a single
training geometry only, which is slow; *torch* is the same calculator with `use_torch=True`, *one
process* with a predictor that did not look. The bar is held for each. kraft's batches are timed
before and after the others, and the faster run counts. *Prediction alone* is the shortest time of
one prediction of all beads without i-PI. What i-PI does itself in a step, with a driver that does
nothing, is in all of them and bounds every ratio. The model is trained on 100 frames and filled up
with frames whose coefficients are zero: both programs compute with all of them. 1 ns is 2 million
steps.
"""


def _batched(row: Figures) -> float:
    return min(median(seconds) for seconds in row["batched"])


def our_cells(name: str, row: Figures) -> list[str]:
    """Return the cells of the first table."""
    batched, single, idle = _batched(row), median(row["single"]), median(row["idle"])
    return [
        *(name, number(1e3 * batched), number(1e3 * single), number(1e3 * idle)),
        *(number(1e3 * row["bare_seconds"]), hours(batched)),
    ]


def peers(name: str, row: Figures) -> list[list[str]]:
    """Return the rows of the second table."""
    lines = []
    for path, seconds in row["sgdml"].items():
        theirs, ratio = median(seconds), median(seconds) / _batched(row)
        cells = [name, SGDML_PATHS[path], number(1e3 * theirs), number(ratio), hours(theirs)]
        lines.append([*cells, verdict(ratio >= BAR)])
    return lines


def hours(step: float) -> str:
    """Return how long 1 ns takes at so many seconds a step."""
    return f"{number(2e6 * step / 3600)} h"


if __name__ == "__main__":
    main()
