"""``kraft train``: from a file of ab initio frames to a tested force field."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Group, Parameter

from kraft.analysis.errors import ErrorReport, evaluate
from kraft.analysis.unseen import unseen_frames
from kraft.cli.console import out
from kraft.cli.options import ComputeOptions, DataOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, check_output, note_written, write_json
from kraft.cli.precision import note_precision
from kraft.cli.progress import progress_bars
from kraft.cli.results import error_figures, model_figures
from kraft.cli.summary import (
    counted,
    duration,
    number,
    print_errors,
    print_facts,
    print_next,
    print_notices,
)
from kraft.cli.training_options import ModelOptions, SymmetryOptions
from kraft.core.errors import DataError, OptionError
from kraft.core.memory import format_bytes
from kraft.core.progress import Progress
from kraft.data import Dataset, Split, Units, split
from kraft.data.checks import check
from kraft.models import ForceField, TrainingResult
from kraft.models import train as train_model

DEFAULT_N_TEST = 1000
"""Frames tested on when the number is not given."""

SPLIT_GROUP = Group("Training, validation and test sets", sort_key=30)
MODEL_SUFFIX = ".safetensors"


@Parameter(name="*", group=SPLIT_GROUP)
@dataclass(frozen=True)
class SplitOptions:
    """Which frames are for what."""

    n_train: Annotated[int, Parameter(help="Frames to learn from; a few hundred as a rule.")]
    n_valid: Annotated[
        int,
        Parameter(help="Frames by which parameters are chosen; 0: by leaving out training frames."),
    ] = 0
    n_test: Annotated[
        int | None,
        Parameter(help=f"Frames to test on; by default all others, at most {DEFAULT_N_TEST}."),
    ] = None
    test: Annotated[Path | None, Parameter(help="Another file to test on.")] = None
    sampling: Annotated[
        Literal["stratified", "random", "farthest"],
        Parameter(help="stratified keeps the distribution of energies; farthest spreads frames."),
    ] = "stratified"
    seed: Annotated[int, Parameter(help="Of every random choice.")] = 0

    def split(self, dataset: Dataset, progress: Progress) -> Split:
        """Return disjoint training, validation and, unless another file is given, test sets."""
        parts = split(
            dataset,
            n_train=self.n_train,
            n_valid=self.n_valid,
            n_test=0 if self.test is not None else self.n_test,
            seed=self.seed,
            strategy=self.sampling,
            progress=progress,
        )
        if self.n_test is None and parts.test is not None:
            return dataclasses.replace(parts, test=self.at_most(parts.test, DEFAULT_N_TEST))
        return parts

    def at_most(self, dataset: Dataset, limit: int) -> Dataset:
        """Return ``limit`` frames of a test set, or all when they are no more."""
        if len(dataset) <= limit:
            return dataset
        strategy: Literal["stratified", "random"] = (
            "random" if self.sampling == "random" else "stratified"
        )
        return split(dataset, n_train=limit, seed=self.seed, strategy=strategy).train


def train(
    data: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    overwrite: Annotated[bool, Flag] = False,
    sets: SplitOptions,
    model: ModelOptions = ModelOptions(),  # noqa: B008
    symmetry: SymmetryOptions = SymmetryOptions(),  # noqa: B008
    reading: DataOptions = DataOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: ResultOptions = ResultOptions(),  # noqa: B008
) -> None:
    """Train a force field on a file of ab initio frames, test it and save it.

    Symmetries, kernel, length scale and regularization are found automatically unless given.

    Parameters
    ----------
    data
        Reference data: sGDML .npz, extended XYZ, or anything ASE reads with forces.
    output
        Where to save the model; the name of the data with .safetensors by default.
    overwrite
        Replace a model that is there already.
    """
    target = output or Path(data.name).with_suffix(MODEL_SUFFIX)
    compute.apply()
    if result.units is not None:
        Units.parse(result.units)
    model.keywords()  # finds malformed options before anything is read
    check_output(target, suffixes=(MODEL_SUFFIX,), overwrite=overwrite)
    check_json(result.json)

    dataset = reading.read(data)
    external = None if sets.test is None else _same_molecule(dataset, reading.read(sets.test))
    units = result.units_for(dataset.units)
    permutations = symmetry.for_dataset(dataset)
    report = check(dataset)
    report.raise_if_fatal()
    print_notices(dataset.notices, report)
    with progress_bars() as progress:
        parts = sets.split(dataset, progress)
        check_output(target, suffixes=(MODEL_SUFFIX,), overwrite=overwrite, size=_file_size(parts))
        force_field, training = train_model(
            parts.train,
            parts.valid,
            permutations=permutations,
            max_permutations=symmetry.max_permutations,
            device=compute.device,
            dtype=compute.dtype,
            seed=sets.seed,
            progress=progress,
            **model.keywords(),
        )
        force_field.save(target)
        note_written(target)
        test_set = parts.test if external is None else _external(sets, force_field, external)
        errors = None if test_set is None else evaluate(force_field, test_set, progress)

    shown = None if errors is None else errors.in_units(units)
    print_notices([*parts.notices, *(n for n in training.notices if n not in dataset.notices)])
    note_precision(force_field, parts.train.positions, units)
    _print_summary(force_field, training, parts, shown, units)
    findings = [dataclasses.asdict(finding) for finding in report.findings]
    figures = _figures(force_field, training, parts, shown, target, units)
    write_json(result.json, {**figures, "findings": findings})
    out.print(f"\nWrote {target} ({format_bytes(target.stat().st_size)}).", soft_wrap=True)
    print_next(*_next_steps(target, data, external))


def _same_molecule(dataset: Dataset, other: Dataset) -> Dataset:
    """Return ``other`` when its atoms are those of ``dataset``, so that it can test the model."""
    if not np.array_equal(dataset.atomic_numbers, other.atomic_numbers):
        raise DataError(
            f"The test data are {other.formula}, the training data {dataset.formula} (or the atoms "
            "are in another order). Expected the same molecule with the same order of atoms."
        )
    return other


def _file_size(parts: Split) -> int:
    """Return about how many bytes the model file will take."""
    return 2 * parts.train.positions.nbytes + 2**16


def _external(sets: SplitOptions, force_field: ForceField, dataset: Dataset) -> Dataset:
    unseen = unseen_frames(force_field, dataset)
    if unseen.n_trained:
        print_notices(
            [
                f"{counted(unseen.n_trained, 'frame')} of {sets.test} "
                "are training geometries too and were left out of the test."
            ]
        )
    limit = len(unseen.dataset) if sets.n_test is None else sets.n_test
    if limit > len(unseen.dataset):
        raise OptionError(
            f"Asked to test on {limit} frames of {sets.test}, but it has {len(unseen.dataset)} "
            "that the model was not trained on. Ask for fewer with --n-test."
        )
    return sets.at_most(unseen.dataset, limit)


def _print_summary(
    force_field: ForceField,
    training: TrainingResult,
    parts: Split,
    errors: ErrorReport | None,
    units: Units,
) -> None:
    choice, times = training.choice, training.timings
    data = parts.train
    valid = 0 if parts.valid is None else len(parts.valid)
    facts = [
        ("molecule", f"{data.formula}, {data.n_atoms} atoms"),
        ("trained on", f"{counted(len(data), 'frame')} ({parts.strategy}, seed {parts.seed})"),
        ("validated on", counted(valid, "frame") if valid else "left-out training frames"),
        ("symmetries", counted(len(training.permutations), "permutation")),
        ("kernel", force_field.parameters.radial_kernel.label),
        ("length scale", f"{choice.length_scale:.4g} /Å"),
        ("regularization", f"{choice.regularization:.2g}"),
        ("chosen by", choice.reason),
        ("solver", _solver(training)),
        ("time", f"{duration(times.total)} ({_stages(training)})"),
    ]
    if choice.criterion == "given":
        facts[2] = ("validated on", counted(valid, "frame") if valid else "nothing")
    print_facts(f"Force field of {data.provenance.name or data.formula}", facts)
    if errors is not None:
        print_errors(f"Errors on {counted(errors.n_test, 'test frame')}", errors)
    elif training.valid_force_mae is not None:
        mae = training.valid_force_mae / units.force_factor
        print_facts("Errors", [("force MAE, validation", f"{number(mae)} {units.force_label}")])


def _solver(training: TrainingResult) -> str:
    outcome = training.outcome
    jitter = f", jitter {outcome.jitter:.1e}" if outcome.jitter else ""
    return f"{outcome.solver}, relative residual {outcome.relative_residual:.1e}{jitter}"


def _stages(training: TrainingResult) -> str:
    times = training.timings
    stages = {
        "symmetry": times.symmetry,
        "choice": times.choice,
        "assembly": times.assembly,
        "factorization": times.factorization,
        "solution": times.solve,
    }
    return ", ".join(f"{name} {duration(value)}" for name, value in stages.items() if value > 0.05)


def _figures(
    force_field: ForceField,
    training: TrainingResult,
    parts: Split,
    errors: ErrorReport | None,
    target: Path,
    units: Units,
) -> Mapping[str, Any]:
    valid_mae = training.valid_force_mae
    return {
        **(error_figures(errors) if errors is not None else {"n_test": 0}),
        "units": {"energy": units.energy_label, "force": units.force_label},
        "model": target,
        **model_figures(force_field),
        "n_valid": 0 if parts.valid is None else len(parts.valid),
        "valid_force_mae": None if valid_mae is None else valid_mae / units.force_factor,
        "sampling": parts.strategy,
        "seed": parts.seed,
        "choice": training.choice.reason,
        "n_trials": len(training.choice.trials),
        "at_edge": training.choice.at_edge,
        "relative_residual": training.outcome.relative_residual,
        "jitter": training.outcome.jitter,
        "timings": dataclasses.asdict(training.timings),
        "notices": [*parts.notices, *training.notices],
    }


def _next_steps(target: Path, data: Path, external: Dataset | None) -> list[str]:
    steps = [f"kraft predict {target} GEOMETRIES -o predicted.xyz"]
    if external is None:
        steps.insert(0, f"kraft test {target} {data}    # or other data of this molecule")
    return [*steps, f'Python: atoms.calc = kraft.KraftCalculator("{target}")    # MD with ASE']
