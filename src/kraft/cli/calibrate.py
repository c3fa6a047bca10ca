"""``kraft calibrate``: make a model's intervals cover what they claim to cover."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kraft.analysis.unseen import unseen_frames
from kraft.cli.console import out
from kraft.cli.model_files import KRAFT_SUFFIX, load_model
from kraft.cli.options import ComputeOptions, DataOptions, Flag
from kraft.cli.outputs import check_json, check_output, note_written, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, print_facts, print_next, print_notices
from kraft.cli.uncertainty_display import calibration_facts, calibration_figures, note_uncertainty
from kraft.cli.uncertainty_flags import MethodFlags
from kraft.core.errors import OptionError
from kraft.data import Dataset, split
from kraft.data.checks import check
from kraft.models.molecule_match import check_molecule

DEFAULT_N = 500
"""Frames calibrated on when the number is not given."""


def calibrate(
    model: Path,
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    overwrite: Annotated[bool, Flag] = False,
    n: int | None = None,
    seed: int = 0,
    json: Path | None = None,
    method: MethodFlags = MethodFlags(),  # noqa: B008
    reading: DataOptions = DataOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
) -> None:
    """Scale a model's uncertainties so that its 95 % intervals cover 95 % of reference data.

    Predictions do not change. The frames are those of the data that the model was not trained on;
    `kraft test` leaves them out later.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors).
    data
        Reference data: sGDML .npz, extended XYZ, or anything ASE reads with forces.
    output
        Where to save the calibrated model.
    overwrite
        Replace a model that is there already; it may be the given one.
    n
        Calibrate on this many frames, drawn at random; all, at most 500, by default.
    seed
        Of the choice of frames.
    json
        File to write all figures to, for programs.
    """
    compute.apply()
    method.options()
    check_output(output, suffixes=(KRAFT_SUFFIX,), overwrite=overwrite)
    check_json(json)
    force_field = method.apply(load_model(model, compute.device, compute.dtype))
    dataset = reading.read(data)
    check_molecule(force_field, dataset.atomic_numbers, dataset.positions[0])
    report = check(dataset)
    report.raise_if_fatal()
    print_notices(dataset.notices, report)
    unseen = unseen_frames(force_field, dataset, for_calibration=True)
    if unseen.n_trained:
        print_notices(
            [f"Left out {counted(unseen.n_trained, 'frame')} that the model was trained on."]
        )
    chosen = _some(unseen.dataset, n, seed)
    with progress_bars() as progress:
        uncertainty = force_field.prepare_uncertainty(progress)
        calibrated = force_field.calibrated(chosen, progress)
    calibrated.save(output)
    note_written(output)
    calibration = calibrated.calibration
    if calibration is None:
        raise AssertionError("a calibrated model has a calibration")
    note_uncertainty(uncertainty, calibration)
    print_facts(
        f"{model.name} calibrated on {counted(len(chosen), 'frame')} of {data.name}",
        [("uncertainty", uncertainty.method), *calibration_facts(calibration)],
    )
    write_json(
        json,
        {
            "model": output,
            "data": data,
            "calibration": calibration_figures(calibration),
            **model_figures(calibrated),
        },
    )
    out.print(f"\nWrote {output}.", soft_wrap=True)
    print_next(
        f"kraft test {output} DATA --uncertainty    # on data neither trained nor calibrated on"
    )


def _some(dataset: Dataset, n: int | None, seed: int) -> Dataset:
    if n is None:
        n = min(len(dataset), DEFAULT_N)
    if not 1 <= n <= len(dataset):
        raise OptionError(
            f"Asked to calibrate on {n} frames, but there are {len(dataset)} that the model was "
            f"not trained on. Give --n a number from 1 to {len(dataset)}."
        )
    return (
        dataset
        if n == len(dataset)
        else split(dataset, n_train=n, seed=seed, strategy="random").train
    )
