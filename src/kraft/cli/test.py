"""``kraft test``: the errors of a model on data that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kraft.analysis.errors import evaluate
from kraft.analysis.unseen import UnseenFrames, unseen_frames
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, DataOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, write_json
from kraft.cli.precision import note_precision
from kraft.cli.progress import progress_bars
from kraft.cli.results import error_figures, model_figures
from kraft.cli.summary import counted, print_errors, print_facts, print_notices
from kraft.core.errors import OptionError
from kraft.data import Dataset, split
from kraft.data.checks import check
from kraft.models.molecule_match import check_molecule


def test(
    model: Path,
    data: Path,
    /,
    *,
    n_test: Annotated[int | None, Parameter(name=["--n-test"])] = None,
    all_frames: Annotated[bool, Flag] = False,
    seed: int = 0,
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
    """
    compute.apply()
    check_json(result.json)
    force_field = load_model(model, compute.device, compute.dtype)
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
    with progress_bars() as progress:
        errors = evaluate(force_field, dataset, progress).in_units(units)
    note_precision(force_field, dataset.positions, units)
    described = repr(force_field).strip("<>").removeprefix("ForceField ")
    facts = [("model", described), ("tested on", counted(errors.n_test, "frame"))]
    print_facts(f"{model.name} tested on {data.name}", facts)
    print_errors("Errors", errors)
    n_left_out = 0 if seen is None else seen.n_trained + seen.n_validated
    origin = {"model": model, "data": data, "n_left_out": n_left_out}
    write_json(result.json, {**error_figures(errors), **origin, **model_figures(force_field)})


def _left_out(seen: UnseenFrames) -> list[str]:
    parts = [
        f"{counted(amount, 'frame')} that the model was {verb} on"
        for amount, verb in ((seen.n_trained, "trained"), (seen.n_validated, "validated"))
        if amount
    ]
    if not parts:
        return []
    return [f"Left out {' and '.join(parts)}; --all-frames keeps them."]


def _some(dataset: Dataset, n_test: int, seed: int) -> Dataset:
    if not 1 <= n_test <= len(dataset):
        raise OptionError(
            f"Asked to test on {n_test} frames, but there are {len(dataset)} to test on. Give "
            f"--n-test a number from 1 to {len(dataset)}."
        )
    return split(dataset, n_train=n_test, seed=seed, strategy="random").train
