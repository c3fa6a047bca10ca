"""What ``kraft train --model aff`` shows and writes about its training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from kraft.cli.summary import counted, duration, number
from kraft.core.memory import format_bytes
from kraft.data import Split, Units
from kraft.models import AtomizedResult, ForceField
from kraft.models.aff.cost import SetCost
from kraft.models.aff.estimate import AtomizedEstimate
from kraft.models.aff.solution import SetOutcome

NOT_CONSERVATIVE = (
    "The forces of an atomized force field are not exactly the gradient of its energy: they are "
    "learned for each set of equivalent atoms by itself. Dynamics at constant energy drift; use a "
    "thermostat, or train --model sgdml where energy must be conserved."
)
"""What a person must know before dynamics."""

_SHOWN_SETS = 24


def atomized_facts(
    force_field: ForceField, result: AtomizedResult, parts: Split, units: Units
) -> list[tuple[str, str]]:
    """Return how an atomized force field was made: its sets, their variances and costs."""
    choice, times, cost = result.choice, result.timings, result.cost
    n_valid = 0 if parts.valid is None else len(parts.valid)
    facts = [
        ("model", "AFF: a Gaussian process for each set of equivalent atoms"),
        ("validated on", counted(n_valid, "frame") if n_valid else "nothing"),
        ("symmetries", counted(len(result.permutations), "permutation")),
        ("kernel", force_field.parameters.radial_kernel.label),
        ("length scale", f"{choice.length_scale:.4g} /Å"),
        ("nugget", f"{choice.regularization:.2g}"),
        ("chosen by", _criterion(result)),
    ]
    if result.energy_choice is not None:
        energies = result.energy_choice
        facts.append(
            (
                "of the energies",
                f"length scale {energies.length_scale:.4g} /Å, nugget "
                f"{energies.regularization:.2g}",
            )
        )
    facts.append(("sets", f"{len(result.sets)}, {counted(_n_labels(result), 'label')} in all"))
    rows = sorted(zip(result.sets, cost.sets, strict=True), key=lambda row: -row[0].n_labels)
    facts += [_set_fact(outcome, expected, units) for outcome, expected in rows[:_SHOWN_SETS]]
    if len(rows) > _SHOWN_SETS:
        facts.append(("", f"and {len(rows) - _SHOWN_SETS} smaller ones (all with --json)"))
    return [
        *facts,
        ("cost", f"{cost.flops / 1e9:.3g} Gflop, {format_bytes(cost.memory)}"),
        ("time", f"{duration(times.total)} ({_stages(result)})"),
    ]


def estimate_facts(expected: AtomizedEstimate) -> list[tuple[str, str]]:
    """Return what training an atomized force field is expected to take."""
    cost = expected.cost
    rows = sorted(cost.sets, key=lambda row: -row.labels)
    facts = [
        ("symmetries", counted(expected.n_permutations, "permutation")),
        ("sets", f"{len(rows)}, {counted(sum(row.labels for row in rows), 'label')} in all"),
    ]
    facts += [
        (
            f"  atoms {' '.join(map(str, row.atoms))}",
            f"{counted(row.labels, 'label')}, {row.flops / 1e9:.3g} Gflop, "
            f"{format_bytes(row.memory)}",
        )
        for row in rows[:_SHOWN_SETS]
    ]
    if len(rows) > _SHOWN_SETS:
        facts.append(("", f"and {len(rows) - _SHOWN_SETS} smaller ones (all with --json)"))
    seconds = expected.seconds_choice + expected.seconds_solution
    return [
        *facts,
        ("memory", f"{format_bytes(cost.memory)}, {cost.n_parallel} solved side by side"),
        ("memory available", format_bytes(expected.allowed)),
        (
            "time",
            f"{duration(seconds)} (choice {duration(expected.seconds_choice)}, solution "
            f"{duration(expected.seconds_solution)}), symmetries and energies not included",
        ),
        ("this machine", f"{expected.flops_per_second / 1e9:.0f} Gflop/s in matrix products"),
    ]


def estimate_figures(expected: AtomizedEstimate) -> Mapping[str, Any]:
    """Return the same for ``--json``."""
    return {
        "model": "aff",
        "n_train": expected.n_train,
        "n_symmetries": expected.n_permutations,
        "sets": [dataclasses.asdict(row) for row in expected.cost.sets],
        "flops": expected.cost.flops,
        "solver_memory": expected.cost.memory,
        "allowed_memory": expected.allowed,
        "fits": expected.fits,
        "seconds": expected.seconds_choice + expected.seconds_solution,
        "timings": {"choice": expected.seconds_choice, "solution": expected.seconds_solution},
        "flops_per_second": expected.flops_per_second,
    }


def atomized_notices(result: AtomizedResult) -> tuple[str, ...]:
    """Return what a person should read."""
    return (*result.notices, NOT_CONSERVATIVE)


def atomized_figures(result: AtomizedResult, parts: Split, units: Units) -> Mapping[str, Any]:
    """Return the figures of the training of an atomized force field for ``--json``."""
    choice, energies = result.choice, result.energy_choice
    energy = units.energy_factor
    return {
        "choice": choice.criterion,
        "n_trials": len(choice.trials),
        "at_bound": choice.at_bound,
        "energy_length_scale": None if energies is None else energies.length_scale,
        "energy_regularization": None if energies is None else energies.regularization,
        "n_labels": _n_labels(result),
        "sets": [
            {
                **dataclasses.asdict(outcome),
                "variance": outcome.variance / energy**2,
                "memory": expected.memory,
                "flops": expected.flops,
            }
            for outcome, expected in zip(result.sets, result.cost.sets, strict=True)
        ],
        "flops": result.cost.flops,
        "solver_memory": result.cost.memory,
        "timings": dataclasses.asdict(result.timings),
        "notices": [*parts.notices, *atomized_notices(result)],
    }


def _criterion(result: AtomizedResult) -> str:
    """Return what range and nugget were chosen by, in words."""
    words = {
        "given": "given",
        "likelihood": "likelihood of the training forces",
        "validation": "force error on the validation frames",
        "leave-one-out": "force error at training frames that are left out",
    }[result.choice.criterion]
    n_trials = len(result.choice.trials)
    return f"{words}, {counted(n_trials, 'trial')}" if n_trials else words


def _n_labels(result: AtomizedResult) -> int:
    return sum(outcome.n_labels for outcome in result.sets)


def _set_fact(outcome: SetOutcome, expected: SetCost, units: Units) -> tuple[str, str]:
    deviation = number(outcome.variance**0.5 / units.energy_factor)
    how = outcome.solver
    if outcome.iterations:
        how = f"{how}, {counted(outcome.iterations, 'iteration')}"
    jitter = f", jitter {outcome.jitter:.1e}" if outcome.jitter else ""
    return (
        f"  atoms {' '.join(map(str, outcome.atoms))}",
        f"{counted(outcome.n_labels, 'label')}, std {deviation} "
        f"{units.energy_label}, {how}{jitter}, {duration(outcome.seconds)}, "
        f"{format_bytes(expected.memory)}",
    )


def _stages(result: AtomizedResult) -> str:
    times = dataclasses.asdict(result.timings)
    del times["total"]
    shown = [f"{name} {duration(value)}" for name, value in times.items() if value > 0.05]
    return ", ".join(shown) or "all stages short"
