"""Measuring a row: one side, trained and tested in a fresh process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from peers.environment import SCRIPTS, given_python, run_measured
from reporting import Figures
from rows import SkippedRowError

import kraft

from .cases import SEED, SIDES, Case


class AbsentPeerError(SkippedRowError):
    """The environment of a peer is not given."""


def measure(case: Case, data: Path, *, threads: int) -> Figures:
    """Train, test and time one side.

    Raises
    ------
    AbsentPeerError
        When the variable that names the peer's interpreter is not set.
    FileNotFoundError
        Without the reference data.
    PeerError
        When the training fails.
    """
    request, sizes = _request(case, data)
    answer = _run(case, request, threads)
    return {"molecule": case.molecule, "side": case.side, "sizes": sizes, **answer}


def measure_times(case: Case, row: Figures, data: Path, *, threads: int) -> Figures:
    """Return the figures of a row with the times of predictions measured anew.

    A busy machine spoils times, not errors. Nothing is trained for long: a prediction takes as long
    whatever the values of the coefficients are. kraft's row is measured anew as a whole.
    """
    if SIDES[case.side].variable is None:
        return measure(case, data, threads=threads)
    request, _ = _request(case, data)
    answer = _run(case, {**request, "only_times": row["settings"]}, threads)
    names = ("microseconds_per_geometry", "contracted")
    return {**row, **{name: answer[name] for name in names if name in answer}}


def _run(case: Case, request: dict[str, Any], threads: int) -> Figures:
    side = SIDES[case.side]
    python: Path | str | None = sys.executable
    if side.variable is not None:
        python = given_python(side.variable)
    if python is None:
        raise AbsentPeerError(f"{side.label} is absent: {side.variable} names no interpreter")
    script = SCRIPTS / side.script
    return run_measured(python, script, request, threads=threads, watch_memory=False)


def _request(case: Case, data: Path) -> tuple[dict[str, Any], list[int]]:
    """Return what a script is asked for, and the numbers of frames."""
    source = data / case.file
    if not source.exists():
        raise FileNotFoundError(f"there is no {source}: set --data")
    parts = kraft.split(
        kraft.read(source),
        n_train=case.n_train,
        n_valid=case.n_valid,
        n_test=case.n_test,
        seed=SEED,
    )
    request = {
        "dataset": str(source),
        "train_indices": parts.train.provenance.indices,
        "valid_indices": parts.valid.provenance.indices,
        "test_indices": parts.test.provenance.indices,
        **case.request,
    }
    return request, [len(part) for part in (parts.train, parts.valid, parts.test)]
