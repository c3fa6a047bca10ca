"""The training itself, for each kind of model, with what there is to tell about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kraft.cli.atomized_summary import atomized_facts, atomized_figures, atomized_notices
from kraft.cli.metric_flags import MetricFlags
from kraft.cli.options import ComputeOptions
from kraft.cli.progress import Display
from kraft.cli.solve_display import SolveDisplay
from kraft.cli.solver_flags import RunFlags, SolverFlags
from kraft.cli.training_options import KindOptions, ModelOptions
from kraft.cli.training_summary import sgdml_facts, sgdml_figures
from kraft.core.typing import IntArray
from kraft.data import Split, Units
from kraft.models import ForceField
from kraft.models import train as train_sgdml
from kraft.models import train_aff as train_atomized
from kraft.models.checkpoint import state_path


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """What to train on, how, and what a person asked to see."""

    parts: Split
    permutations: Literal["auto"] | IntArray | None
    max_permutations: int | None
    kind: KindOptions
    model: ModelOptions
    metric: MetricFlags
    solving: SolverFlags
    run: RunFlags
    compute: ComputeOptions
    seed: int
    target: Path
    units: Units
    started: float

    @property
    def time_left(self) -> float | None:
        """Seconds left of the time limit, which counts from the start of the command."""
        if self.run.seconds is None:
            return None
        return max(self.run.seconds - (time.monotonic() - self.started), 1e-3)


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, rows about it for people, figures for programs and sentences to read."""

    force_field: ForceField
    facts: list[tuple[str, str]]
    figures: Mapping[str, Any]
    notices: tuple[str, ...]


def train_model(task: TrainingTask, progress: Display) -> Trained:
    """Train a model of the kind asked for."""
    return (_atomized if task.kind.atomized else _sgdml)(task, progress)


def _sgdml(task: TrainingTask, progress: Display) -> Trained:
    parts, run = task.parts, task.run
    force_field, result = train_sgdml(
        parts.train,
        parts.valid,
        permutations=task.permutations,
        max_permutations=task.max_permutations,
        feature_weights=task.metric.feature_weights,
        solver_options=task.solving.options(task.time_left),
        checkpoint=state_path(task.target),
        checkpoint_interval=run.interval,
        resume=run.resume,
        device=task.compute.device,
        dtype=task.compute.dtype,
        seed=task.seed,
        progress=progress,
        observer=SolveDisplay(progress.detail, task.units),
        **task.model.keywords(),
    )
    facts = sgdml_facts(force_field, result, parts)
    return Trained(force_field, facts, sgdml_figures(result, parts), result.notices)


def _atomized(task: TrainingTask, progress: Display) -> Trained:
    parts, model = task.parts, task.model
    force_field, result = train_atomized(
        parts.train,
        parts.valid,
        kernel=model.kernel,
        length_scale=model.length_scale,
        regularization=model.regularization,
        permutations=task.permutations,
        max_permutations=task.max_permutations,
        criterion=task.kind.criterion or "likelihood",
        max_memory=task.solving.memory_limit,
        device=task.compute.device,
        seed=task.seed,
        progress=progress,
    )
    force_field = force_field.to(dtype=task.compute.dtype)
    facts = atomized_facts(force_field, result, parts, task.units)
    figures = atomized_figures(result, parts, task.units)
    return Trained(force_field, facts, figures, atomized_notices(result))
