"""``kraft train``: from a file of ab initio frames to a tested force field."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import Group, Parameter

from kraft.analysis.errors import evaluate
from kraft.analysis.unseen import unseen_frames
from kraft.cli.calibration_step import calibrated, check_calibration
from kraft.cli.console import out
from kraft.cli.interruption import resumable
from kraft.cli.metric_flags import MetricFlags
from kraft.cli.options import ComputeOptions, DataOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, check_output, note_written, write_json
from kraft.cli.precision import note_precision
from kraft.cli.progress import progress_bars
from kraft.cli.solver_flags import RunFlags, SolverFlags
from kraft.cli.summary import counted, print_next, print_notices
from kraft.cli.training_options import KindOptions, ModelOptions, SymmetryOptions
from kraft.cli.training_runs import TrainingTask, train_model
from kraft.cli.training_summary import finding_figures, print_summary, training_figures
from kraft.cli.uncertainty_flags import UNCERTAINTY_GROUP
from kraft.core.errors import DataError, OptionError
from kraft.core.memory import format_bytes
from kraft.core.progress import Progress
from kraft.data import Dataset, Split, Units, split
from kraft.data.checks import check
from kraft.models import ForceField
from kraft.models.checkpoint import state_path

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
    calibrate: Annotated[bool | None, Parameter(group=UNCERTAINTY_GROUP)] = None,
    sets: SplitOptions,
    kind: KindOptions = KindOptions(),  # noqa: B008
    model: ModelOptions = ModelOptions(),  # noqa: B008
    metric: MetricFlags = MetricFlags(),  # noqa: B008
    symmetry: SymmetryOptions = SymmetryOptions(),  # noqa: B008
    solving: SolverFlags = SolverFlags(),  # noqa: B008
    run: RunFlags = RunFlags(),  # noqa: B008
    reading: DataOptions = DataOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: ResultOptions = ResultOptions(),  # noqa: B008
) -> None:
    """Train a force field on a file of ab initio frames, test it and save it.

    Symmetries, kernel, length scale, regularization and solver are chosen automatically unless
    given.

    Parameters
    ----------
    data
        Reference data: sGDML .npz, extended XYZ, or anything ASE reads with forces.
    output
        Where to save the model; the name of the data with .safetensors by default.
    overwrite
        Replace a model that is there already.
    calibrate
        Scale the uncertainties so that 95 % intervals cover 95 % of the validation frames; by
        default where there are at least 20 of them and it takes some seconds at most.
    """
    started = time.monotonic()
    target = output or Path(data.name).with_suffix(MODEL_SUFFIX)
    compute.apply()
    _check_flags(model, solving, run, result)
    kind.check(model, solving, run)
    metric.check(kind)
    check_calibration(calibrate, sets.n_valid)
    if not _is_to_be_done(target, overwrite, run):
        return
    dataset = reading.read(data)
    external = None if sets.test is None else _same_molecule(dataset, reading.read(sets.test))
    units = result.units_for(dataset.units)
    permutations = symmetry.for_dataset(dataset)
    report = check(dataset)
    report.raise_if_fatal()
    print_notices(dataset.notices, report)
    with progress_bars() as progress, resumable(state_path(target)):
        parts = sets.split(dataset, progress)
        check_output(target, suffixes=(MODEL_SUFFIX,), overwrite=overwrite, size=_file_size(parts))
        task = TrainingTask(
            parts,
            permutations,
            symmetry.max_permutations,
            kind,
            model,
            metric,
            solving,
            run,
            compute,
            seed=sets.seed,
            target=target,
            units=units,
            started=started,
        )
        trained = train_model(task, progress)
        _save(trained.force_field, target)
        force_field = calibrated(trained.force_field, parts.valid, calibrate, progress)
        if force_field is not trained.force_field:
            force_field.save(target)
        test_set = parts.test if external is None else _external(sets, force_field, external)
        errors = None if test_set is None else evaluate(force_field, test_set, progress)

    shown = None if errors is None else errors.in_units(units)
    print_notices([*parts.notices, *(n for n in trained.notices if n not in dataset.notices)])
    note_precision(force_field, parts.train.positions, units)
    valid_mae = force_field.record.valid_force_mae
    print_summary(trained.facts, force_field, parts, shown, valid_mae, units)
    figures = training_figures(trained.figures, force_field, parts, shown, target, units)
    write_json(result.json, {**figures, **finding_figures(report)})
    out.print(f"\nWrote {target} ({format_bytes(target.stat().st_size)}).", soft_wrap=True)
    print_next(*_next_steps(force_field, target, data, external))


def _check_flags(
    model: ModelOptions, solving: SolverFlags, run: RunFlags, result: ResultOptions
) -> None:
    """Find malformed flags before anything is read."""
    if result.units is not None:
        Units.parse(result.units)
    model.keywords()
    solving.options(run.seconds)
    check_json(result.json)


def _is_to_be_done(target: Path, overwrite: bool, run: RunFlags) -> bool:
    """Check that the model can be written, and tell whether there is anything to do.

    Raises
    ------
    OptionError
        When a model or an unfinished training is there and was not spoken of.
    """
    check_output(target, suffixes=(MODEL_SUFFIX,), overwrite=overwrite or run.resume)
    state = state_path(target)
    if run.resume:
        if target.exists() and not (overwrite and state.exists()):
            out.print(f"{target} is finished already; there is nothing to resume.", soft_wrap=True)
            return False
        if not state.exists():
            print_notices(
                [f"There is no unfinished training {state}: starting from the beginning."]
            )
    elif state.exists() and not overwrite:
        raise OptionError(
            f"{state} is an unfinished training. Go on with it by --resume, or start anew and "
            "lose it with --overwrite."
        )
    return True


def _save(force_field: ForceField, target: Path) -> None:
    """Save the model, then remove the state of its training unless that can still go on."""
    force_field.save(target)
    note_written(target)
    state = state_path(target)
    if force_field.record.converged:
        state.unlink(missing_ok=True)
    else:
        print_notices(
            [f"The state of the training is kept in {state}: --resume --overwrite goes on."]
        )


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


def _next_steps(
    force_field: ForceField, target: Path, data: Path, external: Dataset | None
) -> list[str]:
    steps = [f"kraft predict {target} GEOMETRIES -o predicted.xyz"]
    if external is None:
        steps.insert(0, f"kraft test {target} {data}    # or other data of this molecule")
    if force_field.calibration is not None:
        steps.insert(1, f"kraft test {target} {data} --uncertainty --plot intervals.png")
    steps.append(f"kraft md {target} START --steps 20000 -o run.xyz")
    return [*steps, f'Python: atoms.calc = kraft.KraftCalculator("{target}")    # with ASE']
