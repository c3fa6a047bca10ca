"""Measure molecular dynamics: steps through ASE beside sgdml's, kraft's own loop, many replicas.

Ethanol and aspirin with models of the size of 1000 training frames, the same for both programs,
the same start and the same loop. Writes ``docs/benchmarks/md.md``.

    python benchmarks/md_speed.py
    python benchmarks/md_speed.py --molecules ethanol --threads 1
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
from padded_model import padded_model
from peers.environment import run_measured, run_peer
from reporting import Figures, Page, arguments, number, scratch, table, verdict

import kraft
import kraft.datasets
from kraft.interfaces.sgdml import write_sgdml_model
from kraft.simulation.noise import Noise
from kraft.simulation.system import System

ASE_BAR, REPLICAS_BAR, OVERHEAD_BAR = 6.0, 4.0, 150.0
REPLICAS = 32
N_FRAMES = 1000
TIMESTEP, TEMPERATURE = 0.5, 300.0
AGREEMENT = 1e-6  # eV, along the first steps
PEERS = Path(__file__).parent / "peers"
SGDML = ("sgdml", "sgdml, one process", "sgdml, torch")


@dataclass(frozen=True)
class Case:
    """A molecule, its data, and how many frames its model is really trained on."""

    name: str
    file: str | None
    n_trained: int


CASES = {
    case.name: case
    for case in (Case("ethanol", None, 100), Case("aspirin", "data/aspirin_ccsd_train.npz", 100))
}


def main() -> None:
    parser = arguments(__doc__, "md")
    parser.add_argument("--molecules", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seconds", type=float, default=8.0, help="of ASE's steps, a process")
    parser.add_argument("--rounds", type=int, default=3, help="of kraft's loop")
    options = parser.parse_args()
    if options.quick:
        options.molecules, options.seconds, options.rounds = ["ethanol"], 0.1, 1
    page = Page(options.output, quick=options.quick, threads=options.threads)
    for name in options.molecules:
        case = CASES[name]
        if case.file is not None and not (options.data / case.file).exists():
            print(f"{name}: no {case.file}, left out", file=sys.stderr)
            continue
        page.add(_key(name, options.threads), measure(case, options))
        page.write(render)


def _key(name: str, threads: int) -> str:
    return f"{name}, {threads} thread{'s' * (threads > 1)}"


def measure(case: Case, options: Any) -> Figures:
    """Time both programs on one model: kraft, sgdml, kraft again, a process each."""
    path = Path(kraft.datasets.__file__).with_name("ethanol_gfn2.npz")
    dataset = kraft.read(path if case.file is None else options.data / case.file)
    quick = options.quick
    model = padded_model(dataset, 20 if quick else case.n_trained, 30 if quick else N_FRAMES)
    with scratch() as name:
        folder = Path(name)
        model.save(folder / "model.safetensors")
        write_sgdml_model(model, folder / "model.npz", kraft.Units("kcal/mol"))
        start = folder / "start.npz"
        _write_start(model, start)
        request = {
            "start": str(start),
            "timestep": TIMESTEP,
            "steps": 5 if quick else 100,
            "seconds": options.seconds,
        }
        ours = {**request, "model": str(folder / "model.safetensors"), "calculators": ["kraft"]}
        theirs = {**request, "model": str(folder / "model.npz"), "calculators": SGDML}
        script, threads = "ase_dynamics.py", options.threads

        def kraft_side() -> Figures:
            return run_measured(
                sys.executable, PEERS / script, ours, threads=threads, watch_memory=False
            )["kraft"]

        runs = [kraft_side()]
        peer = run_peer(script, theirs, threads=threads, watch_memory=False)
        runs.append(kraft_side())
        loop = run_measured(
            sys.executable,
            PEERS / "kraft_dynamics.py",
            {
                "model": ours["model"],
                "start": str(start),
                "timestep": TIMESTEP,
                "temperature": TEMPERATURE,
                "replicas": 3 if quick else REPLICAS,
                "steps": 20 if quick else 10000,
                "rounds": options.rounds,
                "folder": str(folder),
            },
            threads=threads,
            watch_memory=False,
        )
    sgdml = {key: peer[key] for key in SGDML}
    for key, row in sgdml.items():
        difference = _difference(runs[0]["energies"], row["energies"])
        row["difference_eV"] = difference
        if not difference < AGREEMENT:
            raise SystemExit(f"{case.name}: kraft and {key} differ by {difference:.1e} eV")
    return {"kraft": runs, "sgdml": sgdml, "loop": loop, "name": case.name, "threads": threads}


def _write_start(model: kraft.ForceField, path: Path) -> None:
    """Write a training geometry with velocities of the temperature."""
    positions = model.parameters.training_positions
    if positions is None:
        raise AssertionError("the model has its training geometries")
    system = System.of(model.atomic_numbers, positions[:1], keeps_momentum=True)
    velocities = system.draw_velocities(
        positions[:1], TEMPERATURE, Noise.seeded(0, [0]), keeps_momentum=True
    )
    np.savez(
        path,
        numbers=model.atomic_numbers,
        positions=positions[0],
        velocities=velocities[0] / ase.units.fs,
    )


def _difference(ours: list[float], theirs: list[float]) -> float:
    return float(np.abs(np.array(ours) - np.array(theirs)).max())


def render(rows: dict[str, Figures]) -> str:
    """Return the page."""
    return "\n".join(
        [
            "# Molecular dynamics",
            "",
            "Made by `benchmarks/md_speed.py`. Models of the size of 1000 training frames. Times",
            "are microseconds of a step, the median of the rounds.",
            "",
            "## Through ASE, beside sgdml",
            "",
            "`ase.md.verlet.VelocityVerlet`, 0.5 fs, from the same start at 300 K.",
            "",
            table(ASE_HEADER, [ase_cells(name, row) for name, row in rows.items()]),
            ASE_NOTES,
            "## kraft's own loop",
            "",
            "`kraft md`, 0.5 fs, 300 K, with all guards every 10 steps, a frame and a row of the",
            "table every 20, both on the disk.",
            "",
            table(LOOP_HEADER, [loop_cells(name, row) for name, row in rows.items()]),
            table(OVERHEAD_HEADER, [overhead_cells(name, row) for name, row in rows.items()]),
            LOOP_NOTES,
        ]
    )


ASE_HEADER = (
    *("model", "kraft", "steps per second", "sgdml", "sgdml, one process", "sgdml, torch"),
    *("sgdml's calculator / kraft", "fastest sgdml / kraft", f"bar of {ASE_BAR:g}"),
)

ASE_NOTES = """\
*sgdml* is its own calculator, `sgdml.intf.ase_calc.SGDMLCalculator(model)`, which looks for the
fastest settings when it is made (in parentheses; with two processors sgdml 1.0.3 then tries chunks
of a single training geometry only, which is slow). *One process* is the same calculator with a
predictor that did not look, with one process, *torch* the calculator with `use_torch=True`. The bar
is held against the fastest of the three. Each side runs in its
own Python with the same number of threads of linear algebra; kraft before and after sgdml, and the
slower of the two counts. The potential energies of both agree to 1e-6 eV along the first steps. The
models are trained on 100 frames and filled up to 1000 with frames whose coefficients are zero: both
programs compute with all of them.
"""

LOOP_HEADER = (
    *("model", "one replica", "prediction in it", "overhead", f"bar of {OVERHEAD_BAR:g} µs"),
    *(f"one of {REPLICAS} replicas", "ratio", f"bar of {REPLICAS_BAR:g}", "ns per day, one"),
    f"ns per day, {REPLICAS}",
)
OVERHEAD_HEADER = ("overhead", "nve", "langevin", "rescaling", "nose-hoover")

LOOP_NOTES = """\
Langevin dynamics; the second table has the overhead of each thermostat. *Overhead* is all of a step
but the prediction: the integrator, random numbers, guards, frames and table. *One of 32 replicas*
is the time of a step of all 32 over 32.
"""


def ase_cells(name: str, row: Figures) -> list[str]:
    """Return the cells of the first table."""
    ours = max(run["microseconds"] for run in row["kraft"])
    theirs = {key: found["microseconds"] for key, found in row["sgdml"].items()}
    ratio = min(theirs.values()) / ours
    settings = row["sgdml"]["sgdml"]["settings"]
    return [
        *(name, number(ours), number(1e6 / ours), f"{number(theirs['sgdml'])} ({settings})"),
        *(number(theirs[key]) for key in SGDML[1:]),
        *(number(theirs["sgdml"] / ours), number(ratio), verdict(ratio >= ASE_BAR)),
    ]


def loop_cells(name: str, row: Figures) -> list[str]:
    """Return the cells of the second table; bars are for ethanol."""
    loop = row["loop"]
    single, batched, overhead = (
        loop["single"]["langevin"],
        loop["batched"],
        loop["overhead"]["langevin"],
    )
    bars = ["none", "none"]
    if row["name"] == "ethanol":
        bars = [verdict(overhead <= OVERHEAD_BAR), verdict(single / batched >= REPLICAS_BAR)]
    per_day = 1e-6 * TIMESTEP * 86400e6
    return [
        *(name, number(single), number(loop["prediction"]["langevin"]), number(overhead), bars[0]),
        *(number(batched), number(single / batched), bars[1]),
        *(number(per_day / single), number(per_day / batched)),
    ]


def overhead_cells(name: str, row: Figures) -> list[str]:
    """Return the cells of the third table."""
    return [name, *(number(row["loop"]["overhead"][key]) for key in OVERHEAD_HEADER[1:])]


if __name__ == "__main__":
    main()
