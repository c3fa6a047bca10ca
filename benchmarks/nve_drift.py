"""Measure how well molecular dynamics at constant energy conserves energy.

Trains ethanol on 200 geometries (the data that come with kraft, and CCSD(T) reference data where
they are there), brings the molecule to 300 K with a thermostat and then runs 10 ps at constant
energy with a time step of 0.5 fs through ASE, from several seeds. Writes the table
``docs/benchmarks/nve.md``. The bar: a drift of the total energy below 1e-5 eV per atom per ps.

    python benchmarks/nve_drift.py --data ../shared --output docs/benchmarks/nve.md
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402
from ase import Atoms  # noqa: E402
from reporting import processor  # noqa: E402

import kraft  # noqa: E402
import kraft.datasets  # noqa: E402
from kraft.simulation.nve import NveRun, run_nve  # noqa: E402

BAR = 1e-5
EMBEDDED = Path(kraft.datasets.__file__).with_name("ethanol_gfn2.npz")
CCSDT = Path("data/ethanol_ccsd_t_train.npz")
TEMPERATURE = 300.0

HEADER = (
    "| reference | kernel | time step (fs) | seed | mean T (K) | drift (eV/atom/ps) | "
    "fluctuation (eV/atom) | bar | ms a step |"
)

NOTES = """
How to read it: *drift* is the slope of a straight line through the total energy of the {duration:g}
ps at constant energy, per atom, with a standard error from the slopes of four parts of the run;
*fluctuation* is the standard deviation around that line. The bar is a drift below {bar:g} eV per
atom per ps, met in {met} of {total} runs with 0.5 fs. Velocity Verlet keeps not the
total energy but one close to it, and the difference goes with the square of the time step; the
runs with {short:g} fs show what is left of the fluctuation, and of the drift, when that difference
is small. Before each run {equilibration:g} ps of Langevin dynamics at {temperature:g} K, from the
training geometry of lowest energy; with 21 internal degrees of freedom the mean temperature of an
isolated molecule differs from run to run.

Everything is in float64: the kernel expansion of these models is a small difference of large terms,
which single precision loses; kraft refuses to use them in float32.

Models: {models}.

Made on {machine}, {threads} thread, with {versions}. Times a step are as good as the machine was
idle: {load}.
"""


@dataclass(frozen=True)
class Model:
    """A trained force field, where to start from, and how good it is."""

    name: str
    force_field: kraft.ForceField
    start: np.ndarray
    test_force_mae: float


def train(name: str, path: Path, n_test: int) -> Model:
    dataset = kraft.read(path)
    parts = kraft.split(dataset, n_train=200, n_valid=200, n_test=n_test)
    force_field, _ = kraft.train(parts.train, parts.valid)
    errors = force_field.predict(parts.test.positions).forces - parts.test.forces
    lowest = int(parts.train.energies.argmin())
    return Model(name, force_field, parts.train.positions[lowest], float(np.abs(errors).mean()))


def simulate(
    model: Model, *, seed: int, timestep: float, options: argparse.Namespace
) -> tuple[NveRun, float]:
    atoms = Atoms(numbers=model.force_field.atomic_numbers, positions=model.start)
    atoms.calc = kraft.KraftCalculator(model.force_field)
    n_steps = round(1000.0 * options.picoseconds / timestep)
    n_equilibration = round(1000.0 * options.equilibration / timestep)
    begin = time.perf_counter()
    run = run_nve(
        atoms,
        temperature=TEMPERATURE,
        timestep=timestep,
        n_steps=n_steps,
        n_equilibration=n_equilibration,
        frame_interval=100,
        seed=seed,
    )
    return run, (time.perf_counter() - begin) / (n_steps + n_equilibration)


def row_of(model: Model, run: NveRun, seconds: float, *, seed: int, timestep: float) -> str:
    verdict = "met" if abs(run.energy_drift) < BAR else "missed"
    return (
        f"| {model.name} | {model.force_field.parameters.radial_kernel.label} | "
        f"{timestep:g} | {seed} | {run.mean_temperature:.0f} | {run.energy_drift:+.1e} ± "
        f"{run.energy_drift_uncertainty:.0e} | {run.energy_fluctuation:.1e} | {verdict} | "
        f"{1000 * seconds:.2f} |"
    )


def notes(options: argparse.Namespace, models: list[Model], met: int, total: int) -> str:
    packages = ("kraft", "torch", "numpy", "ase")
    described = "; ".join(
        f"{model.name}, force MAE {1000 * model.test_force_mae:.1f} meV/Å on its test set, "
        f"length scale {model.force_field.parameters.length_scale:.3g} /Å, "
        f"regularization {model.force_field.parameters.regularization:.1e}, "
        f"{model.force_field.parameters.n_permutations} permutations"
        for model in models
    )
    return NOTES.format(
        duration=options.picoseconds,
        equilibration=options.equilibration,
        bar=BAR,
        met=met,
        total=total,
        short=options.short_timestep,
        temperature=TEMPERATURE,
        models=described,
        machine=processor(),
        threads=os.environ["OMP_NUM_THREADS"],
        versions=", ".join(
            [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]
        ),
        load=f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/nve.md"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--equilibration", type=float, default=2.0)
    parser.add_argument("--short-timestep", type=float, default=0.25)
    options = parser.parse_args()

    models = [train("GFN2-xTB, with kraft", EMBEDDED, 1000)]
    if (options.data / CCSDT).exists():
        models.append(train("CCSD(T)", options.data / CCSDT, 500))
    else:
        print(f"no {options.data / CCSDT}: CCSD(T) left out")
    lines = [
        "# Energy conservation",
        "",
        "Made by `python benchmarks/nve_drift.py`.",
        "",
        HEADER,
        "|" + "---|" * (HEADER.count("|") - 1),
    ]
    drifts = []
    for model in models:
        plan = [(seed, 0.5) for seed in range(options.seeds)] + [(0, options.short_timestep)]
        for seed, timestep in plan:
            run, seconds = simulate(model, seed=seed, timestep=timestep, options=options)
            if timestep == 0.5:
                drifts.append(abs(run.energy_drift))
            row = row_of(model, run, seconds, seed=seed, timestep=timestep)
            print(row, flush=True)
            lines.append(row)
    met = sum(drift < BAR for drift in drifts)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n" + notes(options, models, met, len(drifts))
    options.output.write_text(text, encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
