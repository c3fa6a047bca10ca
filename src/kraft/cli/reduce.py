"""``kraft reduce``: a model with only the features that matter."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Group, Parameter

from kraft.analysis.errors import evaluate
from kraft.analysis.feature_patterns import SHORT_RANGE, range_shares
from kraft.analysis.importance import FeatureImportance, feature_importance
from kraft.analysis.reduction import (
    FRACTIONS,
    RISE,
    ReducedModel,
    prediction_seconds,
    reduced_model,
    reduction_curve,
    select_features,
    smallest_accurate,
)
from kraft.analysis.retraining import Retraining, original_frames, sgdml_parameters
from kraft.analysis.unseen import unseen_frames
from kraft.cli.console import out
from kraft.cli.model_files import KRAFT_SUFFIX, load_model
from kraft.cli.options import ComputeOptions, DataOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, check_output, check_plot, note_written, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.reduction_display import (
    Reduction,
    curve_points,
    print_curve,
    print_reduction,
    reduction_figures,
)
from kraft.cli.solver_flags import SolverFlags
from kraft.cli.summary import print_next, print_notices, print_warning
from kraft.core.errors import OptionError
from kraft.core.progress import Progress
from kraft.data import Dataset, split
from kraft.data.checks import check
from kraft.models import ForceField
from kraft.models.molecule_match import check_molecule
from kraft.models.selection import Request
from kraft.reports.reduction_figures import importance_figure, reduction_figure, save_figure
from kraft.simulation.stability import check_stability

REDUCTION_GROUP = Group("Reduction", sort_key=20)
FRAMES_GROUP = Group("Frames", sort_key=30)
RETRAINING_GROUP = Group("Retraining", sort_key=40)
STABILITY_GROUP = Group("Stability", sort_key=48)

Several = Parameter(consume_multiple=True, negative="")


@Parameter(name="*", group=REDUCTION_GROUP)
@dataclass(frozen=True)
class ReductionOptions:
    """Which features to keep."""

    keep: Annotated[
        float | None, Parameter(help="Share of all pairs of atoms to keep (0.4), or a count.")
    ] = None
    percentile: Annotated[
        float | None,
        Parameter(help="Remove the features below this percentile of importance instead."),
    ] = None
    until_rise: Annotated[
        bool, Flag, Parameter(help="Remove until the validation error starts to rise instead.")
    ] = False
    scan: Annotated[
        bool, Flag, Parameter(help="Train every size of --sizes, and show the whole curve.")
    ] = False
    sizes: Annotated[
        tuple[float, ...], Several, Parameter(help="Sizes of --scan and --until-rise.")
    ] = FRACTIONS
    keep_below: Annotated[
        float | None,
        Parameter(help="Keep all pairs that are always nearer than this, in Å; safer dynamics."),
    ] = None

    def check(self, output: Path | None) -> None:
        """Raise OptionError unless exactly one way to choose is given, with what it needs."""
        ways = {
            "--keep": self.keep is not None,
            "--percentile": self.percentile is not None,
            "--until-rise": self.until_rise,
            "--scan": self.scan,
        }
        given = [name for name, is_given in ways.items() if is_given]
        if len(given) != 1:
            raise OptionError(
                f"Expected one of {', '.join(ways)}, got {' and '.join(given) or 'none'}. "
                "--keep 0.4 keeps the more important 40 % of the features."
            )
        if output is None and not self.scan:
            raise OptionError("Expected --output, the file to write the reduced model to.")


@Parameter(name="*", group=FRAMES_GROUP)
@dataclass(frozen=True)
class FrameOptions:
    """Which frames of the data are for what."""

    n_frames: Annotated[int, Parameter(help="Frames that importance is measured on.")] = 100
    n_train: Annotated[
        int | None, Parameter(help="Frames to train on; by default those of the model.")
    ] = None
    n_valid: Annotated[int, Parameter(help="With --n-train: frames to choose parameters by.")] = 0
    n_test: Annotated[int, Parameter(help="Frames to test on, at most.")] = 1000
    seed: Annotated[int, Parameter(help="Of every random choice.")] = 0

    def parts(self, force_field: ForceField, dataset: Dataset, progress: Progress) -> Frames:
        """Return disjoint frames for everything.

        Raises
        ------
        DataError
            When the data are not those that the model was made from and ``n_train`` is not given.
        OptionError
            When there are too few frames.
        """
        if self.n_frames < 1:
            raise OptionError(f"Expected --n-frames to be at least 1, got {self.n_frames}.")
        if self.n_train is None:
            train, valid = original_frames(force_field, dataset)
            others = unseen_frames(force_field, dataset).dataset
        else:
            made = split(
                dataset,
                n_train=self.n_train,
                n_valid=self.n_valid,
                n_test=None,
                seed=self.seed,
                progress=progress,
            )
            train, valid = made.train, made.valid
            others = dataset.subset(np.arange(0)) if made.test is None else made.test
        if len(others) < self.n_frames + 1:
            raise OptionError(
                f"Expected at least {self.n_frames + 1} frames that are not trained on, to measure "
                f"importance and to test; got {len(others)}. Give fewer --n-frames, or more data."
            )
        order = np.random.default_rng(self.seed).permutation(len(others))
        looked_at, tested = order[: self.n_frames], order[self.n_frames :][: self.n_test]
        return Frames(
            train, valid, others.subset(np.sort(tested)), others.subset(np.sort(looked_at))
        )


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames to train on, to validate and to test on, and to measure importance on."""

    train: Dataset
    valid: Dataset | None
    test: Dataset
    looked_at: Dataset


@Parameter(name="*", group=RETRAINING_GROUP)
@dataclass(frozen=True)
class RetrainingOptions:
    """Hyper-parameters of the reduced models."""

    kernel: Annotated[
        str | None, Parameter(help="matern52, matern72, gaussian or auto; the model's.")
    ] = None
    length_scale: Annotated[
        float | None, Parameter(help="In units of the features, 1/Å. Chosen if not given.")
    ] = None
    regularization: Annotated[
        float | None, Parameter(help="Added to the diagonal. Chosen if not given.")
    ] = None

    def check(self) -> None:
        """Raise OptionError when a value is out of range."""
        Request(self.kernel or "auto", self.length_scale, self.regularization)


@Parameter(name="*", group=STABILITY_GROUP)
@dataclass(frozen=True)
class StabilityOptions:
    """Dynamics with the reduced model."""

    check_stability: Annotated[
        bool, Flag, Parameter(help="Run dynamics with the reduced model and watch its geometry.")
    ] = False
    temperature: Annotated[float, Parameter(help="Of these dynamics, in K: that of the data.")] = (
        300.0
    )
    duration: Annotated[float, Parameter(help="Of these dynamics, in ps.")] = 5.0

    def run(self, force_field: ForceField, seed: int, progress: Progress) -> dict[str, Any] | None:
        """Return figures of the check, if it was asked for; warn where the model is not stable."""
        if not self.check_stability:
            return None
        found = check_stability(
            force_field,
            temperature=self.temperature,
            duration=self.duration,
            seed=seed,
            progress=progress,
        )
        if found.stable:
            out.print(found.summary, soft_wrap=True)
        else:
            print_warning(
                f"{found.summary} Keep more features, or all short-ranged ones (--keep-below "
                f"{SHORT_RANGE:g})."
            )
        return {
            "stable": found.stable,
            "summary": found.summary,
            "temperature": self.temperature,
            "duration": self.duration,
            "failure_rate": found.failure_rate,
        }


def reduce(
    model: Path,
    data: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    overwrite: Annotated[bool, Flag] = False,
    plot: Path | None = None,
    reduction: ReductionOptions = ReductionOptions(),
    frames: FrameOptions = FrameOptions(),
    retraining: RetrainingOptions = RetrainingOptions(),
    solving: SolverFlags = SolverFlags(),  # noqa: B008
    stability: StabilityOptions = StabilityOptions(),
    reading: DataOptions = DataOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: ResultOptions = ResultOptions(),  # noqa: B008
) -> None:
    """Keep only the features that matter to a model and train it again: faster, often better.

    Importance is what masking a feature changes in the forces; features that symmetries exchange
    are kept or removed together.

    Parameters
    ----------
    model
        An sGDML model made by kraft (.safetensors); it need not be an accurate one.
    data
        The data it was made from, or with --n-train others of the molecule.
    output
        Where to save the reduced model; with --scan, the smallest whose validation error has not
        risen.
    overwrite
        Replace a model that is there already.
    plot
        Draw the curve or, for one size, the importance of the features (.png, .pdf, .svg).
    """
    compute.apply()
    reduction.check(output)
    retraining.check()
    options = solving.options()
    check_json(result.json)
    if output is not None:
        check_output(output, suffixes=(KRAFT_SUFFIX,), overwrite=overwrite)
    check_plot(plot)
    force_field = load_model(model, compute.device, compute.dtype)
    parameters = sgdml_parameters(force_field)
    dataset = reading.read(data)
    units = result.units_for(dataset.units)
    check_molecule(force_field, dataset.atomic_numbers, dataset.positions[0])
    report = check(dataset)
    report.raise_if_fatal()
    print_notices(dataset.notices, report)
    with progress_bars() as progress:
        parts = frames.parts(force_field, dataset, progress)
        started = time.perf_counter()
        importance = feature_importance(force_field, parts.looked_at.positions, progress=progress)
        seconds = time.perf_counter() - started
        retrain = Retraining(
            parameters,
            parts.train,
            parts.valid,
            kernel=retraining.kernel,
            length_scale=retraining.length_scale,
            regularization=retraining.regularization,
            solver_options=options,
            device=compute.device,
            dtype=compute.dtype,
            seed=frames.seed,
            progress=progress,
        )
        points = _trained(importance, retrain, parts, reduction, progress)
        before = evaluate(force_field, parts.test, progress)
        chosen = _chosen(points, reduction)
        if output is not None:
            chosen.force_field.save(output)
            note_written(output)
    done = Reduction(
        force_field,
        before,
        prediction_seconds(force_field, parts.train.positions),
        importance,
        seconds,
        points,
        chosen,
    )
    _show(done, reduction, units, plot, f"{model.name} reduced on {data.name}")
    with progress_bars() as progress:
        sound = stability.run(chosen.force_field, frames.seed, progress)
    figures = reduction_figures(done, units)
    paths = {"model": model, "data": data, "output": output}
    write_json(result.json, {**paths, **figures, "stability": sound, "seed": frames.seed})
    if output is not None:
        out.print(f"\nWrote {output}.", soft_wrap=True)
        print_next(f"kraft test {output} {data}", f"kraft calibrate {output} {data} -o calibrated")


def _trained(
    importance: FeatureImportance,
    retrain: Retraining,
    parts: Frames,
    reduction: ReductionOptions,
    progress: Progress,
) -> tuple[ReducedModel, ...]:
    """Train the models asked for, the largest first."""
    if not (reduction.scan or reduction.until_rise):
        selection = select_features(
            importance,
            keep=reduction.keep,
            percentile=reduction.percentile,
            cutoff=reduction.keep_below,
        )
        print_notices(selection.notices)
        return (
            reduced_model(
                selection, retrain, validation=parts.valid, test=parts.test, progress=progress
            ),
        )
    return reduction_curve(
        importance,
        retrain,
        validation=parts.valid,
        test=parts.test,
        keeps=reduction.sizes,
        cutoff=reduction.keep_below,
        until_rise=RISE if reduction.until_rise else None,
        progress=progress,
    )


def _chosen(points: tuple[ReducedModel, ...], reduction: ReductionOptions) -> ReducedModel:
    """Return the model to save: the smallest as accurate as the best of several."""
    if len(points) == 1 or any(point.valid is None for point in points):
        if reduction.scan and len(points) > 1:
            print_notices(
                [
                    "The model was made without validation frames, so no size is chosen by its "
                    "error: the smallest is taken. Give --n-train and --n-valid for a choice."
                ]
            )
        return points[-1]
    return smallest_accurate(points)


def _show(
    done: Reduction, reduction: ReductionOptions, units: Any, plot: Path | None, title: str
) -> None:
    """Print what was found and draw it."""
    print_reduction(done, units, title)
    several = reduction.scan or reduction.until_rise
    if several:
        print_curve(done, units)
    if plot is None:
        return
    if several:
        fractions = [point.selection.fraction for point in done.points]
        figure = reduction_figure(
            curve_points(done, units),
            shares=range_shares(done.importance, fractions),
            units=units,
            title=title,
        )
    else:
        kept = done.chosen.selection.features
        figure = importance_figure(
            done.importance, kept, cutoff=reduction.keep_below, units=units, title=title
        )
    save_figure(figure, plot)
    note_written(plot)
    print_notices([f"Wrote {plot}."])
