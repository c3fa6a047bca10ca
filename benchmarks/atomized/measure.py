"""Measuring a row: both kinds of models on the same frames, each in a fresh process."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from peers.environment import PeerError, run_measured
from reporting import Figures

import kraft
from kraft.data.geometry import duplicate_groups

from .cases import INTERVAL_FRAMES, SGDML_CURVE_LABELS, Case

PEERS = Path(__file__).resolve().parents[1] / "peers"


def measure(case: Case, data: Path, *, threads: int) -> Figures:
    """Return the figures of a row.

    Raises
    ------
    FileNotFoundError
        When the data are not there.
    PeerError
        When AFF's process fails; the failure of sGDML's is a result and kept.
    """
    request = _request(case, data)
    row = {**asdict(case), "n_frames": request.pop("n_frames")}
    row["aff"] = _run(request, "aff", case, threads)
    if case.kind == "curve" and row["aff"]["n_labels"] > SGDML_CURVE_LABELS:
        return row
    try:
        row["sgdml"] = _run(request, "sgdml", case, threads)
    except PeerError as error:
        row["sgdml"] = {"error": str(error)[-500:]}
    return row


def _run(request: dict[str, Any], kind: str, case: Case, threads: int) -> Figures:
    asked = {
        **request,
        "kind": kind,
        "settings": case.settings,
        "solver": "dense" if case.kind == "cost" else "auto",
        "intervals": case.kind != "cost",
        "max_interval_frames": INTERVAL_FRAMES[kind],
    }
    answer = run_measured(sys.executable, PEERS / "kraft_intervals.py", asked, threads=threads)
    return {**answer, "n_labels": 3 * request["n_atoms"] * answer["n_train"]}


def _request(case: Case, data: Path) -> dict[str, Any]:
    source = data / case.file
    for path in filter(None, (source, case.test_file and data / case.test_file)):
        if not Path(path).exists():
            raise FileNotFoundError(f"there is no {path}: set KRAFT_REFERENCE_DATA or --data")
    dataset = kraft.read(source)
    parts = _in_time(case, len(dataset)) if case.order == "time" else _at_random(case, dataset)
    train, valid, test = (part.tolist() for part in parts)
    request = {
        "dataset": str(source),
        "train_indices": train,
        "valid_indices": valid,
        "test_indices": test,
        "forces_only": case.forces_only,
        "n_atoms": dataset.n_atoms,
        "n_frames": len(dataset),
    }
    if case.test_file is not None:
        request["test_dataset"] = str(data / case.test_file)
        request["test_indices"] = list(range(case.n_test))
    return request


def _at_random(case: Case, dataset: kraft.Dataset) -> tuple[Any, Any, Any]:
    """Draw at random; test and validation frames first, the same ones for every size."""
    n_test = 0 if case.test_file is not None else case.n_test
    different = np.flatnonzero(duplicate_groups(dataset) == np.arange(len(dataset)))
    order = np.random.default_rng(0).permutation(different)
    test, valid, rest = np.split(order, [n_test, n_test + case.n_valid])
    if len(rest) < case.n_train:
        raise ValueError(f"{case.label}: {len(rest)} frames are left for {case.n_train}")
    return np.sort(rest[: case.n_train]), np.sort(valid), np.sort(test)


def _in_time(case: Case, n_frames: int) -> tuple[Any, Any, Any]:
    """Train on the first frames, calibrate on the next ones, test on the last ones."""
    frames = np.arange(n_frames)
    train, valid = frames[: case.n_train], frames[case.n_train : case.n_train + case.n_valid]
    return train, valid, frames[n_frames - case.n_test :]
