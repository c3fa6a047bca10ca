"""``kraft select``: the frames of a pool whose labels would help a model most."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from kraft.cli.console import out
from kraft.cli.geometry_match import check_match
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag, parse_memory
from kraft.cli.outputs import check_json, check_output, note_written, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, duration, print_facts, print_notices
from kraft.core.errors import OptionError
from kraft.core.files import atomic_path
from kraft.data.geometry_format import Geometries, read_geometries
from kraft.data.geometry_writer import write_geometries
from kraft.models import SelectedFrames, select_frames
from kraft.models.acquisition.selection import SelectionMethod, Weighting

_WEIGHTINGS = {
    "errors": "the errors that a committee expects",
    "equal": "nothing: all frames alike",
}


def select(
    model: Path,
    pool: Path,
    /,
    *,
    n: int,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    indices: Path | None = None,
    overwrite: Annotated[bool, Flag] = False,
    length_unit: str | None = None,
    any_order: Annotated[bool, Flag] = False,
    method: SelectionMethod = "auto",
    weighting: Weighting = "errors",
    max_memory: str | None = None,
    seed: int = 0,
    json: Path | None = None,
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
) -> None:
    """Pick the frames of a pool whose labels would help a model most, as a batch.

    Parameters
    ----------
    model
        An sGDML model made by kraft (.safetensors).
    pool
        Anything ASE reads, or an sGDML .npz; energies and forces in it are ignored.
    n
        How many frames to pick. Frames that the model was trained on are left out.
    output
        File to write them to, the most valuable first: extended XYZ in Å, with their number in
        the pool (pool_index, counted from 0).
    indices
        File to write the numbers to, one a line, in the same order.
    overwrite
        Replace files that are there already.
    length_unit
        Unit of the positions where the file does not say; Å by default.
    any_order
        Do not check whether like atoms have changed places.
    method
        exact judges by all training frames, landmarks by some of them; auto is exact where that
        takes no longer than a minute or so.
    weighting
        errors counts the frames of the pool by their errors as a committee of models of parts of
        the training set estimates them; equal counts all alike.
    max_memory
        Memory it may use, for example 8GB; what is free by default.
    seed
        Of every random choice.
    json
        File to write all figures to, for programs.
    """
    compute.apply()
    memory = None if max_memory is None else parse_memory(max_memory)
    if n < 1:
        raise OptionError(f"Expected --n to be at least 1, got {n}.")
    check_output(output, suffixes=(".xyz", ".extxyz"), overwrite=overwrite)
    if indices is not None:
        check_output(indices, overwrite=overwrite)
    check_json(json)
    force_field = load_model(model, compute.device, compute.dtype)
    frames = read_geometries(pool, length_unit=length_unit)
    check_match(force_field, frames, pool, any_order=any_order)
    started = time.perf_counter()
    with progress_bars() as progress:
        selected = select_frames(
            force_field,
            frames.positions,
            n,
            method=method,
            weighting=weighting,
            max_memory=memory,
            seed=seed,
            progress=progress,
        )
    seconds = time.perf_counter() - started
    print_notices(selected.notices)
    _write(output, indices, frames, selected)
    _print(selected, f"{counted(n, 'frame')} of {pool.name} for {model.name}", seconds)
    write_json(
        json,
        {
            "model": model,
            "pool": pool,
            "output": output,
            "indices": selected.indices,
            "gains": selected.gains,
            "removed": selected.removed,
            "n_pool": selected.n_pool,
            "n_trained": selected.n_trained,
            "n_candidates": selected.n_candidates,
            "n_directions": selected.n_directions,
            "method": selected.method,
            "weighting": selected.weighting,
            "notices": selected.notices,
            "seed": seed,
            "seconds": seconds,
            **model_figures(force_field),
        },
    )
    out.print(f"\nWrote {output}, in Å.", soft_wrap=True)


def _write(
    output: Path, indices: Path | None, frames: Geometries, selected: SelectedFrames
) -> None:
    chosen = Geometries(frames.atomic_numbers, frames.positions[selected.indices], frames.cell)
    numbers = zip(selected.indices.tolist(), selected.gains.tolist(), strict=True)
    write_geometries(
        chosen, output, [{"pool_index": index, "gain": gain} for index, gain in numbers]
    )
    note_written(output)
    if indices is not None:
        with atomic_path(indices) as temporary:
            np.savetxt(temporary, selected.indices, fmt="%d")
        note_written(indices)


def _print(selected: SelectedFrames, title: str, seconds: float) -> None:
    pool = counted(selected.n_pool, "frame")
    if selected.n_trained:
        pool += f", {selected.n_trained} of them left out: the model was trained on them"
    how = "all training frames" if selected.method == "exact" else "some training frames"
    print_facts(
        title,
        [
            ("pool", pool),
            (
                "compared",
                f"{counted(selected.n_candidates, 'frame')} by {selected.n_directions} forces "
                f"each, given {how}",
            ),
            ("counted by", _WEIGHTINGS[selected.weighting]),
            (
                "gain",
                f"{_percent(selected.gains[0])} by the first, {_percent(selected.gains[-1])} by "
                "the last",
            ),
            ("in all", f"{_percent(selected.removed)} of the pool's variance removed"),
            ("time", duration(seconds)),
        ],
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"
