"""``kraft estimate``: memory and time of a training, beforehand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kraft.cli.console import out
from kraft.cli.options import ComputeOptions, DataOptions
from kraft.cli.outputs import check_json, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.solver_flags import SolverFlags
from kraft.cli.summary import counted, duration, print_facts, print_notices
from kraft.cli.training_options import ModelOptions, SymmetryOptions
from kraft.core.memory import format_bytes
from kraft.data.checks import check
from kraft.models.estimate import Estimate, estimate_training


def estimate(
    data: Path,
    /,
    *,
    n_train: int,
    n_valid: int = 0,
    seed: int = 0,
    model: ModelOptions = ModelOptions(),  # noqa: B008
    symmetry: SymmetryOptions = SymmetryOptions(),  # noqa: B008
    solving: SolverFlags = SolverFlags(),  # noqa: B008
    reading: DataOptions = DataOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    json: Annotated[Path | None, Parameter(group="Results")] = None,
) -> None:
    """Tell how much memory and time a training will take, without doing it.

    Takes a few seconds: symmetries are searched and the speed of this machine is measured.

    Parameters
    ----------
    data
        Reference data; may hold fewer frames than the training in question.
    n_train
        Frames to learn from.
    n_valid
        Frames by which parameters are chosen; 0: by leaving out training frames.
    seed
        Of every random choice.
    json
        File to write all figures to, for programs.
    """
    compute.apply()
    check_json(json)
    limit = solving.memory_limit
    dataset = reading.read(data)
    report = check(dataset)
    report.raise_if_fatal()
    print_notices(dataset.notices)
    with progress_bars() as progress:
        expected = estimate_training(
            dataset,
            n_train,
            n_valid=n_valid,
            request=model.request,
            permutations=symmetry.for_dataset(dataset),
            max_permutations=symmetry.max_permutations,
            energy_weight=model.energy_weight,
            device=compute.device,
            seed=seed,
            progress=progress,
        )
    print_facts(
        f"Training on {counted(n_train, 'frame')} of {dataset.formula}, about", _facts(expected)
    )
    allowed = expected.available if limit is None else min(limit, expected.available)
    fits = expected.solver_memory <= allowed
    if not fits:
        most = int(n_train * (allowed / expected.solver_memory) ** 0.5)
        out.print(
            f"This does not fit into {format_bytes(allowed)}: train on at most about "
            f"{counted(most, 'frame')}.",
            style="yellow",
        )
    write_json(json, {**_figures(expected), "n_valid": n_valid, "fits": fits})


def _figures(expected: Estimate) -> dict[str, Any]:
    return {
        "n_train": expected.n_train,
        "n_labels": expected.n_labels,
        "n_symmetries": expected.n_symmetries,
        "memory": expected.memory,
        "solver_memory": expected.solver_memory,
        "available_memory": expected.available,
        "seconds": expected.seconds.total,
        "timings": dataclasses.asdict(expected.seconds),
        "flops_per_second": expected.flops_per_second,
    }


def _facts(expected: Estimate) -> list[tuple[str, str]]:
    stages = dataclasses.asdict(expected.seconds)
    detail = ", ".join(f"{name} {duration(value)}" for name, value in stages.items() if value > 0)
    return [
        ("memory", _memory(expected)),
        ("available", format_bytes(expected.available)),
        ("time", f"{duration(expected.seconds.total)} ({detail})"),
        ("symmetries", counted(expected.n_symmetries, "permutation")),
        ("this machine", f"{expected.flops_per_second / 1e9:.0f} Gflop/s in matrix products"),
    ]


def _memory(expected: Estimate) -> str:
    system = f"{format_bytes(expected.solver_memory)} ({expected.n_labels} labels)"
    return f"{format_bytes(expected.memory)}, of which the linear system {system}"
