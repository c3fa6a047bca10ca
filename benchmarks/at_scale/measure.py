"""How the rows are measured: every training in a fresh process."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.environment import PeerError, run_measured, run_peer
from peers.fastest import sgdml_training
from reporting import Figures, scratch

import kraft

from .cases import RESERVE, Case

PEERS = Path(__file__).resolve().parents[1] / "peers"
LENIENT = 3.0
"""A training may take so many times the time of its bar before it is stopped."""

BOTH_ASSEMBLIES = 300
"""Geometries up to which sgdml's two ways to assemble are both tried; torch's wins on two cores."""


@dataclass(frozen=True)
class Limits:
    """What a run gets: threads of either side, seconds for sgdml's iterations, repeats."""

    threads: int
    peer_seconds: float
    repeats: int
    quick: bool


def measure(case: Case, data: Path, limits: Limits) -> Figures:
    """Return the figures of a row.

    Raises
    ------
    FileNotFoundError
        When the data are not there.
    """
    ways = {
        "training": _training,
        "iteration": _against_sgdml,
        "counts": _counts,
        "time to error": _time_to_error,
        "memory": _preconditioner_memory,
        "product": _product,
    }
    request = _request(case, data)
    figures = ways[case.kind](case, request, limits)
    kept = {"label": case.label, "kind": case.kind, "n_train": len(request["train_indices"])}
    bars = {"memory": case.memory, "seconds": case.seconds, "force_mae": case.force_mae}
    return {**kept, "settings": dict(case.settings), "bars": bars, **figures}


def _request(case: Case, data: Path) -> dict[str, Any]:
    """Choose the geometries: those of training by energy, as kraft and sgdml do."""
    source = data / case.file
    if not source.exists():
        raise FileNotFoundError(f"there is no {source}: set KRAFT_REFERENCE_DATA or --data")
    dataset = kraft.read(source)
    request: dict[str, Any] = {"dataset": str(source), "device": case.device}
    elsewhere = case.test_file is not None
    if elsewhere and case.n_train == len(dataset):
        request["train_indices"] = list(range(len(dataset)))
    else:
        n_test = 0 if elsewhere else case.n_test or 0
        parts = kraft.split(
            dataset, n_train=case.n_train, n_valid=case.n_valid, n_test=n_test, seed=0
        )
        request["train_indices"] = _indices(parts.train)
        request["valid_indices"] = _indices(parts.valid)
        request["test_indices"] = _indices(parts.test)
    if elsewhere:
        request["test_dataset"] = str(data / str(case.test_file))
        request["test_indices"] = None if case.n_test is None else list(range(case.n_test))
    return {**request, **case.settings}


def _indices(dataset: kraft.Dataset | None) -> list[int]:
    indices = None if dataset is None else dataset.provenance.indices
    return [] if indices is None else [int(index) for index in indices]


def _kraft(case: Case, request: dict[str, Any], limits: Limits, **options: Any) -> Figures:
    """Train with kraft; a training that takes far too long ends with what it has reached."""
    chosen = {"accept_unconverged": True, **case.options, **options}
    if case.memory is not None:
        chosen.setdefault("max_memory", int(case.memory) - RESERVE)
    if case.seconds is not None:
        chosen.setdefault("max_time", LENIENT * case.seconds)
    asked = {**request, "options": chosen}
    return run_measured(sys.executable, PEERS / "kraft_scale.py", asked, threads=limits.threads)


def _training(case: Case, request: dict[str, Any], limits: Limits) -> Figures:
    return {"kraft": _kraft(case, {**request, "valid_indices": []}, limits)}


def _peer_request(case: Case, request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Return what both of sgdml's scripts take."""
    return {
        "dataset": request["dataset"],
        "train_indices": request["train_indices"],
        "test_dataset": request.get("test_dataset"),
        "test_indices": request.get("test_indices"),
        "length_scale": case.settings["length_scale"],
        "length_scales": [case.settings["length_scale"]],
        "regularization": case.settings["regularization"],
        "max_memory": case.peer_memory,
        "processes": limits.threads,
    }


def _against_sgdml(case: Case, request: dict[str, Any], limits: Limits) -> Figures:
    """Run both iterative solvers on one problem; sgdml's with its fastest products."""
    asked = _peer_request(case, request, limits)
    probes = _peer_probes(asked, limits)
    fastest = min(probes, key=lambda probe: float(probe["seconds_an_iteration"]))
    cap = 5.0 if limits.quick else limits.peer_seconds
    theirs = run_peer(
        "sgdml_iterative.py",
        {
            **asked,
            "torch_operator": fastest["torch_operator"],
            "seconds": cap,
            "snapshots": [cap * share for share in (0.25, 0.5, 0.75)],
        },
        threads=fastest["threads"],
    )
    ours = _kraft(case, {**request, "valid_indices": []}, limits, solver="iterative")
    return {"kraft": ours, "sgdml": theirs, "probes": probes, "peer_seconds": cap}


def _peer_probes(asked: dict[str, Any], limits: Limits) -> list[Figures]:
    """Time a few of sgdml's iterations in each of its ways, with hardly a preconditioner."""
    probes = []
    for torch_operator, threads in ((False, 1), (False, limits.threads), (True, limits.threads)):
        probe = run_peer(
            "sgdml_iterative.py",
            {
                **asked,
                "test_indices": [],
                "torch_operator": torch_operator,
                "points": 1,
                "iterations": 3,
                "seconds": 5.0 if limits.quick else 60.0,
            },
            threads=threads,
        )
        kept = {name: probe[name] for name in ("seconds_an_iteration", "operator")}
        probes.append({**kept, "torch_operator": torch_operator, "threads": threads})
    return probes


def _counts(case: Case, request: dict[str, Any], limits: Limits) -> Figures:
    """Count iterations to the same tolerance with the same memory for either side.

    sgdml's are counted with products by its assembled matrix, since its own take too long; its
    memory and time an iteration come from a short run of its own solver.
    """
    asked = {**_peer_request(case, request, limits), "test_indices": []}
    counted = run_peer(
        "sgdml_iterative.py",
        {**asked, "assembled": True, "seconds": 5.0 if limits.quick else 900.0},
        threads=limits.threads,
    )
    own = run_peer("sgdml_iterative.py", {**asked, "iterations": 10, "seconds": 60.0}, threads=1)
    ours = _kraft(
        case,
        {**request, "valid_indices": []},
        limits,
        solver="iterative",
        max_memory=int(case.peer_memory * 2**30),
    )
    return {"kraft": ours, "sgdml": counted, "sgdml_own": own, "peer_memory": case.peer_memory}


def _time_to_error(case: Case, request: dict[str, Any], limits: Limits) -> Figures:
    """Train to a converged error: sgdml by its own choice of solver, kraft by its own rule."""
    asked = _peer_request(case, request, limits)
    del asked["max_memory"]  # sgdml's default: what the machine has
    with scratch() as folder:
        model = str(Path(folder) / "model.npz")
        try:
            if case.n_train <= BOTH_ASSEMBLIES:
                theirs = sgdml_training({**asked, "model": model}, threads=limits.threads)
            else:
                theirs = _large_sgdml_training({**asked, "model": model}, limits)
        except PeerError as error:
            theirs = {"error": str(error)[-500:]}
    ours = [_kraft(case, request, limits, stop="validation") for _ in range(limits.repeats)]
    same = {"rank": ours[0]["outcome"]["rank"]} if ours[0]["outcome"]["rank"] else {}
    followed = {**request, "follow_test": True}
    return {
        "kraft": ours,
        "followed": _kraft(case, followed, limits, solver="iterative", **same),
        "sgdml": theirs,
    }


def _large_sgdml_training(asked: dict[str, Any], limits: Limits) -> Figures:
    """Run sgdml as it is or, where SciPy crashes, with its matrix factorized by torch."""
    try:
        return run_peer("sgdml_train.py", asked, threads=limits.threads)
    except PeerError as error:
        if f"ended with {-signal.SIGSEGV}" not in str(error):
            raise
    helped = run_peer(
        "sgdml_train.py", {**asked, "torch_factorization": True}, threads=limits.threads
    )
    return {**helped, "solver": f"{helped['solver']}, factorized by torch"}


def _preconditioner_memory(case: Case, request: dict[str, Any], limits: Limits) -> Figures:
    """Build preconditioners and iterate once: only the memory counts."""
    runs = []
    for blocks in (0, None):
        for rank in case.ranks:
            asked = {**request, "valid_indices": [], "test_dataset": None, "test_indices": None}
            options: dict[str, Any] = {"solver": "iterative", "rank": rank, "max_iterations": 1}
            if blocks is not None:
                options["block_geometries"] = blocks
            runs.append(_kraft(case, asked, limits, **options)["builds"][0])
    return {"builds": runs}


def _product(_: Case, asked: dict[str, Any], limits: Limits) -> Figures:
    script = PEERS / "kraft_product.py"
    return run_measured(sys.executable, script, asked, threads=limits.threads, watch_memory=False)
