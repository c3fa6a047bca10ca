"""``kraft test``: the errors of a model on data that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kraft.analysis.calibration import UncertaintyReport, compare_uncertainty
from kraft.analysis.calibration import predict_with_uncertainty as predict_all
from kraft.analysis.errors import ErrorReport, compare, evaluate
from kraft.analysis.unseen import UnseenFrames, unseen_frames
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, DataOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, check_plot, note_written, write_json
from kraft.cli.precision import note_precision
from kraft.cli.progress import progress_bars
from kraft.cli.results import error_figures, model_figures
from kraft.cli.summary import counted, print_errors, print_facts, print_notices
from kraft.cli.uncertainty_display import note_uncertainty, print_intervals, uncertainty_figures
from kraft.cli.uncertainty_flags import UNCERTAINTY_GROUP, UncertaintyFlags
from kraft.core.errors import OptionError
from kraft.core.progress import Progress
from kraft.data import Dataset, split
from kraft.data.checks import check
from kraft.models import ForceField, Prediction
from kraft.models.molecule_match import check_molecule
from kraft.reports.uncertainty_figures import calibration_figure, save_figure


def test(
    model: Path,
    data: Path,
    /,
    *,
    n_test: Annotated[int | None, Parameter(name=["--n-test"])] = None,
    all_frames: Annotated[bool, Flag] = False,
    seed: int = 0,
    plot: Annotated[Path | None, Parameter(group=UNCERTAINTY_GROUP)] = None,
    uncertain: UncertaintyFlags = UncertaintyFlags(),  # noqa: B008
    reading: DataOptions = DataOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: ResultOptions = ResultOptions(),  # noqa: B008
) -> None:
    """Measure the errors of a model on reference data that it was not made with.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors) or by sgdml (.npz).
    data
        Reference data: sGDML .npz, extended XYZ, or anything ASE reads with forces.
    n_test
        Test on this many frames, drawn at random; all by default.
    all_frames
        Keep frames that the model was trained or validated on.
    seed
        Of the choice of frames.
    plot
        Draw the calibration of the uncertainties into this file (.png, .pdf, .svg).
    """
    compute.apply()
    uncertain.options()
    check_json(result.json)
    check_plot(plot)
    force_field = uncertain.apply(load_model(model, compute.device, compute.dtype))
    dataset = reading.read(data)
    units = result.units_for(dataset.units)
    check_molecule(force_field, dataset.atomic_numbers, dataset.positions[0])
    report = check(dataset)
    report.raise_if_fatal()
    print_notices(dataset.notices, report)
    seen = None
    if not all_frames:
        seen = unseen_frames(force_field, dataset)
        dataset = seen.dataset
        print_notices(_left_out(seen))
    if n_test is not None:
        dataset = _some(dataset, n_test, seed)
    with_uncertainty = uncertain.wanted or plot is not None
    with progress_bars() as progress:
        errors, intervals = _measure(force_field, dataset, with_uncertainty, progress)
    errors = errors.in_units(units)
    note_precision(force_field, dataset.positions, units)
    described = repr(force_field).strip("<>").removeprefix("ForceField ")
    facts = [("model", described), ("tested on", counted(errors.n_test, "frame"))]
    print_facts(f"{model.name} tested on {data.name}", facts)
    print_errors("Errors", errors)
    figures = {
        **error_figures(errors),
        "model": model,
        "data": data,
        "n_left_out": 0 if seen is None else seen.n_left_out,
        **model_figures(force_field),
    }
    if intervals is not None:
        intervals = intervals.in_units(units)
        print_intervals(force_field, intervals)
        note_uncertainty(force_field.uncertainty, force_field.calibration)
        figures["uncertainty"] = uncertainty_figures(intervals)
        if plot is not None:
            save_figure(calibration_figure(intervals, title=f"{model.name} on {data.name}"), plot)
            note_written(plot)
            print_notices([f"Wrote {plot}."])
    write_json(result.json, figures)


def _measure(
    force_field: ForceField, dataset: Dataset, with_uncertainty: bool, progress: Progress
) -> tuple[ErrorReport, UncertaintyReport | None]:
    """Return errors and, if asked for, how uncertainties compare with them."""
    if not with_uncertainty:
        return evaluate(force_field, dataset, progress), None
    predicted = predict_all(force_field, dataset.positions, "testing", progress)
    errors = compare(force_field, dataset, Prediction(predicted.energies, predicted.forces))
    return errors, compare_uncertainty(force_field, dataset, predicted)


def _left_out(seen: UnseenFrames) -> list[str]:
    parts = [
        f"{counted(amount, 'frame')} that the model was {verb} on"
        for amount, verb in (
            (seen.n_trained, "trained"),
            (seen.n_validated, "validated"),
            (seen.n_calibrated, "calibrated"),
        )
        if amount
    ]
    if not parts:
        return []
    return [f"Left out {', '.join(parts)}; --all-frames keeps them."]


def _some(dataset: Dataset, n_test: int, seed: int) -> Dataset:
    if not 1 <= n_test <= len(dataset):
        raise OptionError(
            f"Asked to test on {n_test} frames, but there are {len(dataset)} to test on. Give "
            f"--n-test a number from 1 to {len(dataset)}."
        )
    return split(dataset, n_train=n_test, seed=seed, strategy="random").train
