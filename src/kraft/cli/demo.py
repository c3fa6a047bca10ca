"""``kraft demo``: the main job, from data to dynamics, on data that come with kraft."""

from __future__ import annotations

import dataclasses
import importlib.resources
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from cyclopts import Parameter

from kraft.analysis.errors import ErrorReport, evaluate
from kraft.cli.console import out
from kraft.cli.options import ComputeOptions, ResultOptions
from kraft.cli.outputs import check_json, check_output, note_written, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.results import error_figures, model_figures
from kraft.cli.summary import duration, print_errors, print_facts, print_next, print_notices
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.data import Dataset, Split, Units, read, split
from kraft.interfaces.ase import KraftCalculator
from kraft.models import ForceField, TrainingResult
from kraft.models import train as train_model
from kraft.models.force_field import Precision
from kraft.reports.figures import LearningCurve, learning_figure, save_figure
from kraft.simulation.nve import NveRun, run_nve

DATASET = "ethanol_gfn2.npz"
MODEL_NAME = "ethanol_demo.safetensors"
FIGURE_NAME = "ethanol_learning.png"


@dataclass(frozen=True)
class DemoSettings:
    """How much the demonstration does; the defaults take well under a minute on two cores.

    Attributes
    ----------
    n_train, n_valid, n_test
        Frames to learn from, to choose hyper-parameters by, and to test on.
    smaller_sets
        Further sizes of training sets on the learning curve.
    n_steps, n_equilibration
        Steps at constant energy, and steps of thermostat before.
    temperature, timestep
        K and fs.
    length_scale, regularization, kernel
        Chosen automatically unless given.
    """

    n_train: int = 100
    n_valid: int = 100
    n_test: int = 1000
    smaller_sets: tuple[int, ...] = (25, 50, 100)
    n_steps: int = 2000
    n_equilibration: int = 1000
    temperature: float = 300.0
    timestep: float = 0.5
    kernel: str = "auto"
    length_scale: float | None = None
    regularization: float | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demonstration made and found; errors are in eV and Å."""

    dataset: Dataset
    force_field: ForceField
    training: TrainingResult
    errors: ErrorReport
    curve: LearningCurve
    nve: NveRun
    model_path: Path
    figure_path: Path
    seconds: float


def demo(
    *,
    output_dir: Annotated[Path, Parameter(name=["--output-dir", "-o"])] = Path("kraft-demo"),
    seed: int = 0,
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: ResultOptions = ResultOptions(),  # noqa: B008
) -> None:
    """Train, test and simulate ethanol, on data that come with kraft, in under a minute.

    Parameters
    ----------
    output_dir
        Folder for the model and the figure; those of an earlier demo are replaced.
    seed
        Of every random choice.
    """
    compute.apply()
    if result.units is not None:
        Units.parse(result.units)
    check_json(result.json)
    dataset = demo_dataset()
    units = result.units_for(dataset.units)
    out.print(
        f"{len(dataset)} frames of ethanol come with kraft ({dataset.provenance.theory}). They "
        "stand for your own reference calculations.\n"
    )
    with progress_bars() as progress:
        done = run_demo(
            dataset,
            output_dir,
            DemoSettings(seed=seed),
            units=units,
            device=compute.device,
            dtype=compute.dtype,
            progress=progress,
        )
    print_notices(done.training.notices)
    _print_result(done, units)
    write_json(result.json, _figures(done, units))


def demo_dataset() -> Dataset:
    """Return the 2000 frames of ethanol that come with kraft."""
    packaged = importlib.resources.files("kraft.datasets") / DATASET
    with importlib.resources.as_file(packaged) as path:
        return read(path)


def run_demo(
    dataset: Dataset,
    folder: Path,
    settings: DemoSettings,
    *,
    units: Units | None = None,
    device: str = "cpu",
    dtype: Precision = "float64",
    progress: Progress = silent,
) -> DemoResult:
    """Train, test, save, simulate and draw.

    Parameters
    ----------
    dataset
        Reference data with energies.
    folder
        For the model and the figure; made if need be.
    settings
        Sizes.
    units
        Of the figure; the dataset's by default.
    device, dtype
        Where and in which precision to compute.
    progress
        Told about stages.
    """
    started = time.perf_counter()
    model_path, figure_path = folder / MODEL_NAME, folder / FIGURE_NAME
    check_output(model_path, overwrite=True)
    check_output(figure_path, overwrite=True)
    parts = split(
        dataset,
        n_train=settings.n_train,
        n_valid=settings.n_valid,
        n_test=settings.n_test,
        seed=settings.seed,
    )
    force_field, training = train_model(
        parts.train,
        parts.valid,
        kernel=settings.kernel,
        length_scale=settings.length_scale,
        regularization=settings.regularization,
        device=device,
        dtype=dtype,
        seed=settings.seed,
        progress=progress,
    )
    force_field.save(model_path)
    note_written(model_path)
    test = _required(parts)
    errors = evaluate(force_field, test, progress)
    curve = _learning_curve(parts, training, errors, settings, device, progress)
    nve = _simulate(model_path, parts.train, settings, device, dtype, progress)
    _draw(force_field, test, curve, units or dataset.units, figure_path)
    return DemoResult(
        dataset=dataset,
        force_field=force_field,
        training=training,
        errors=errors,
        curve=curve,
        nve=nve,
        model_path=model_path,
        figure_path=figure_path,
        seconds=time.perf_counter() - started,
    )


def _required(parts: Split) -> Dataset:
    return parts.train if parts.test is None else parts.test


def _learning_curve(
    parts: Split,
    training: TrainingResult,
    errors: ErrorReport,
    settings: DemoSettings,
    device: str,
    progress: Progress,
) -> LearningCurve:
    """Train on parts of the training set, with the hyper-parameters and symmetries of the whole."""
    order = generator(settings.seed, "demo/learning curve").permutation(len(parts.train))
    sizes = sorted(n for n in settings.smaller_sets if n < len(parts.train))
    maes = []
    for number, n in enumerate(sizes):
        progress("learning curve", number, len(sizes))
        smaller, _ = train_model(
            parts.train.subset(np.sort(order[:n])),
            kernel=training.choice.kernel,
            length_scale=training.choice.length_scale,
            regularization=training.choice.regularization,
            permutations=training.permutations,
            device=device,
            seed=settings.seed,
        )
        maes.append(evaluate(smaller, _required(parts)).force_mae)
    progress("learning curve", len(sizes), len(sizes))
    return LearningCurve(
        n_train=np.array([*sizes, len(parts.train)]),
        force_mae=np.array([*maes, errors.force_mae]),
        n_test=errors.n_test,
    )


def _simulate(
    model_path: Path,
    training: Dataset,
    settings: DemoSettings,
    device: str,
    dtype: Precision,
    progress: Progress,
) -> NveRun:
    """Run molecular dynamics as a user would: the model read from its file, through ASE."""
    lowest = 0 if training.energies is None else int(training.energies.argmin())
    atoms = Atoms(numbers=training.atomic_numbers, positions=training.positions[lowest])
    atoms.calc = KraftCalculator(model_path, device=device, dtype=dtype)
    return run_nve(
        atoms,
        temperature=settings.temperature,
        timestep=settings.timestep,
        n_steps=settings.n_steps,
        n_equilibration=settings.n_equilibration,
        seed=settings.seed,
        progress=progress,
    )


def _draw(
    force_field: ForceField, test: Dataset, curve: LearningCurve, units: Units, path: Path
) -> None:
    parameters = force_field.parameters
    figure = learning_figure(
        curve,
        test.atomic_numbers,
        test.forces,
        force_field.predict(test.positions).forces,
        units=units,
        title=(
            f"{test.provenance.name or test.formula}: {parameters.n_train} training geometries, "
            f"{parameters.n_permutations} symmetries, {parameters.radial_kernel.label} kernel"
        ),
    )
    save_figure(figure, path)
    note_written(path)


def _print_result(done: DemoResult, units: Units) -> None:
    choice, nve = done.training.choice, done.nve
    print_facts(
        "Force field",
        [
            ("trained on", f"{done.force_field.parameters.n_train} frames"),
            ("symmetries", f"{len(done.training.permutations)} permutations, found in the data"),
            ("kernel", done.force_field.parameters.radial_kernel.label),
            ("length scale", f"{choice.length_scale:.4g} /Å"),
            ("regularization", f"{choice.regularization:.2g}"),
            ("time", duration(done.training.timings.total)),
        ],
    )
    errors = done.errors.in_units(units)
    print_errors(f"Errors on {errors.n_test} other frames", errors)
    print_facts(
        f"{nve.duration:.3g} ps of molecular dynamics at constant energy, through ASE",
        [
            ("mean temperature", f"{nve.mean_temperature:.0f} K"),
            (
                "energy drift",
                f"{nve.energy_drift:+.1e} ± {nve.energy_drift_uncertainty:.0e} eV/atom/ps "
                "(none is expected: energies and forces belong together exactly)",
            ),
            ("energy fluctuation", f"{nve.energy_fluctuation:.1e} eV/atom (from the time step)"),
        ],
    )
    out.print(f"\nWrote {done.model_path}, the force field,", soft_wrap=True)
    out.print(f"and {done.figure_path}, its errors as a figure,", soft_wrap=True)
    out.print(f"after {duration(done.seconds)}.\n", soft_wrap=True)
    out.print(
        "With your own data: put some hundred geometries of one molecule and their forces, from a "
        "short ab initio simulation for example, in one file (extended XYZ, .npz, or anything that "
        "ASE reads), and follow the same way."
    )
    print_next(
        "kraft info mydata.xyz                                   # is anything wrong with them?",
        "kraft train mydata.xyz --n-train 200 --n-valid 200 -o mymodel.safetensors",
        "kraft predict mymodel.safetensors geometries.xyz -o predicted.xyz",
        'Python: atoms.calc = kraft.KraftCalculator("mymodel.safetensors")   # dynamics with ASE',
    )


def _figures(done: DemoResult, units: Units) -> dict[str, Any]:
    return {
        **error_figures(done.errors.in_units(units)),
        **model_figures(done.force_field),
        "learning_curve": {
            "n_train": done.curve.n_train,
            "force_mae": done.curve.force_mae / units.force_factor,
        },
        "nve": {
            "duration_ps": done.nve.duration,
            "timestep_fs": 1e3 * float(done.nve.times[1]),
            "mean_temperature_kelvin": done.nve.mean_temperature,
            "energy_drift_ev_per_atom_per_ps": done.nve.energy_drift,
            "energy_drift_uncertainty_ev_per_atom_per_ps": done.nve.energy_drift_uncertainty,
            "energy_fluctuation_ev_per_atom": done.nve.energy_fluctuation,
        },
        "model": done.model_path,
        "figure": done.figure_path,
        "timings": {**dataclasses.asdict(done.training.timings), "demo": done.seconds},
    }
