"""``kraft estimate``: memory and time of a training, beforehand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kraft.cli.atomized_summary import estimate_facts, estimate_figures
from kraft.cli.console import out
from kraft.cli.metric_flags import MetricFlags
from kraft.cli.options import ComputeOptions, DataOptions
from kraft.cli.outputs import check_json, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.solver_flags import RunFlags, SolverFlags
from kraft.cli.summary import counted, duration, print_facts, print_notices
from kraft.cli.training_options import KindOptions, ModelOptions, SymmetryOptions
from kraft.core.memory import format_bytes
from kraft.data import Dataset
from kraft.data.checks import check
from kraft.models.aff.choice import AtomizedRequest
from kraft.models.aff.estimate import estimate_aff
from kraft.models.estimate import Estimate, RouteEstimate, estimate_training


def estimate(
    data: Path,
    /,
    *,
    n_train: int,
    n_valid: int = 0,
    seed: int = 0,
    kind: KindOptions = KindOptions(),  # noqa: B008
    model: ModelOptions = ModelOptions(),  # noqa: B008
    metric: MetricFlags = MetricFlags(),  # noqa: B008
    symmetry: SymmetryOptions = SymmetryOptions(),  # noqa: B008
    solving: SolverFlags = SolverFlags(),  # noqa: B008
    reading: DataOptions = DataOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    json: Annotated[Path | None, Parameter(group="Results")] = None,
) -> None:
    """Tell how much memory and time a training will take by either solver, without doing it.

    With --model aff, what each set of equivalent atoms will take. Takes a few seconds: symmetries
    are searched, the speed of this machine is measured, and a small part of the system is solved by
    iteration.

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
    kind.check(model, solving, RunFlags())
    metric.check(kind)
    dataset = reading.read(data)
    report = check(dataset)
    report.raise_if_fatal()
    print_notices(dataset.notices)
    if kind.atomized:
        _estimate_atomized(dataset, n_train, seed, kind, model, symmetry, solving, compute, json)
        return
    options = solving.options()
    with progress_bars() as progress:
        expected = estimate_training(
            dataset,
            n_train,
            n_valid=n_valid,
            request=model.request,
            permutations=symmetry.for_dataset(dataset),
            max_permutations=symmetry.max_permutations,
            feature_function=model.feature_function,
            feature_weights=metric.feature_weights,
            energy_weight=model.energy_weight,
            solver_options=options,
            device=compute.device,
            seed=seed,
            progress=progress,
        )
    print_facts(
        f"Training on {counted(n_train, 'frame')} of {dataset.formula}, about", _facts(expected)
    )
    if not expected.fits:
        out.print(_advice(expected), style="yellow")
    write_json(json, {**_figures(expected), "n_valid": n_valid, "fits": expected.fits})


def _estimate_atomized(
    dataset: Dataset,
    n_train: int,
    seed: int,
    kind: KindOptions,
    model: ModelOptions,
    symmetry: SymmetryOptions,
    solving: SolverFlags,
    compute: ComputeOptions,
    json: Path | None,
) -> None:
    with progress_bars() as progress:
        expected = estimate_aff(
            dataset,
            n_train,
            request=AtomizedRequest(
                model.kernel,
                model.length_scale,
                model.regularization,
                kind.criterion or "likelihood",
            ),
            permutations=symmetry.for_dataset(dataset),
            max_permutations=symmetry.max_permutations,
            max_memory=solving.memory_limit,
            device=compute.device,
            seed=seed,
            progress=progress,
        )
    title = f"Training AFF on {counted(n_train, 'frame')} of {dataset.formula}, about"
    print_facts(title, estimate_facts(expected))
    if not expected.fits:
        out.print(
            f"Not all sets fit into {format_bytes(expected.allowed)} at once: fewer are solved "
            "side by side, and those that do not fit alone iteratively.",
            style="yellow",
        )
    write_json(json, estimate_figures(expected))


def _advice(expected: Estimate) -> str:
    """Return what to do when the solver does not fit into the memory."""
    allowed = format_bytes(expected.allowed)
    if expected.plan.solver == "dense" and expected.iterative.solver_memory <= expected.allowed:
        return f"This does not fit into {allowed}, but --solver iterative does."
    power = 0.5 if expected.plan.solver == "dense" else 1.0
    share = (expected.allowed / expected.solver_memory) ** power
    most = max(1, int(expected.n_train * share))
    return f"This does not fit into {allowed}: train on at most about {counted(most, 'frame')}."


def _figures(expected: Estimate) -> dict[str, Any]:
    return {
        "n_train": expected.n_train,
        "n_labels": expected.n_labels,
        "n_symmetries": expected.n_symmetries,
        "memory": expected.memory,
        "solver_memory": expected.solver_memory,
        "available_memory": expected.available,
        "allowed_memory": expected.allowed,
        "seconds": expected.seconds.total,
        "timings": dataclasses.asdict(expected.seconds),
        "solver": expected.plan.solver,
        "solver_reason": expected.plan.reason,
        "dense": _route_figures(expected.dense),
        "iterative": _route_figures(expected.iterative),
        "flops_per_second": expected.flops_per_second,
        "bytes_per_second": expected.bytes_per_second,
    }


def _route_figures(route: RouteEstimate) -> dict[str, Any]:
    return {
        "memory": route.memory,
        "solver_memory": route.solver_memory,
        "seconds": route.seconds.total,
        "timings": dataclasses.asdict(route.seconds),
        "rank": route.rank,
        "block_geometries": route.block_geometries,
        "iterations": route.iterations,
    }


def _facts(expected: Estimate) -> list[tuple[str, str]]:
    plan = expected.plan
    gflops, gbytes = expected.flops_per_second / 1e9, expected.bytes_per_second / 1e9
    return [
        ("labels", f"{expected.n_labels}"),
        ("symmetries", counted(expected.n_symmetries, "permutation")),
        ("dense", _route(expected.dense)),
        ("iterative", f"{_route(expected.iterative)}; {_settings(expected)}"),
        ("solver", f"{plan.solver}: {plan.reason}"),
        ("memory available", format_bytes(expected.available)),
        ("this machine", f"{gflops:.0f} Gflop/s in matrix products, reads {gbytes:.0f} GB/s"),
    ]


def _route(route: RouteEstimate) -> str:
    second = "preconditioner" if route.rank else "factorization"
    stages = {
        second if name == "factorization" else name: value
        for name, value in dataclasses.asdict(route.seconds).items()
    }
    detail = ", ".join(
        f"{name} {duration(value)}" for name, value in stages.items() if value > 0.05
    )
    system = f"{format_bytes(route.memory)}, {format_bytes(route.solver_memory)} of it the solver's"
    shown = f" ({detail})" if detail else ""
    return f"{duration(route.seconds.total)}{shown}, {system}"


def _settings(expected: Estimate) -> str:
    route = expected.iterative
    source = "measured on a part" if expected.iterations_measured else "typical"
    return f"rank {route.rank}, {route.iterations} iterations ({source})"
