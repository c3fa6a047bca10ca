"""Limits of a run, and where its states go."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from kraft.core.errors import OptionError, UnfinishedError
from kraft.core.progress import Progress
from kraft.models.checkpoint import TrainingState, write_state
from kraft.models.observer import Observer
from kraft.models.solver_options import SolverOptions


@dataclass(frozen=True)
class RunControl:
    """Limits of a run, and where its states go.

    Attributes
    ----------
    checkpoint
        File of the state; None keeps none.
    interval
        Seconds between states.
    deadline
        Value of ``time.perf_counter()`` at which to stop; None for never.
    observer
        Is told about the iteration and may stop it.
    seed
        Of random choices.
    """

    checkpoint: Path | None
    interval: float
    deadline: float | None
    observer: Observer
    seed: int

    @classmethod
    def of(
        cls,
        options: SolverOptions,
        checkpoint: str | os.PathLike[str] | None,
        interval: float,
        started: float,
        observer: Observer,
        seed: int,
    ) -> RunControl:
        """Return the control of a run that started at this value of ``time.perf_counter()``.

        Raises
        ------
        OptionError
            When the interval is not positive.
        """
        if not interval > 0.0:
            raise OptionError(
                f"The checkpoint interval must be a positive number of seconds, got {interval}."
            )
        return cls(
            checkpoint=None if checkpoint is None else Path(checkpoint),
            interval=interval,
            deadline=None if options.max_time is None else started + options.max_time,
            observer=observer,
            seed=seed,
        )

    def save(self, state: TrainingState) -> None:
        """Write the state, if states are kept."""
        if self.checkpoint is not None:
            write_state(state, self.checkpoint)

    def discard(self) -> None:
        """Remove the state: there is nothing to go on from."""
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)

    def limited(self, progress: Progress) -> Progress:
        """Return a progress that raises :class:`UnfinishedError` when the time is up."""
        if self.deadline is None:
            return progress
        deadline = self.deadline

        def limited(stage: str, done: int, total: int, /) -> None:
            progress(stage, done, total)
            if time.perf_counter() >= deadline:
                raise self.unfinished("max_time", f"while {stage}")

        return limited

    def unfinished(self, status: str, where: str) -> UnfinishedError:
        """Return the error for a run that was stopped."""
        cause = "The time limit was reached" if status == "max_time" else "Stopped as asked"
        if self.checkpoint is None:
            kept = "Nothing was kept; give a checkpoint to be able to go on."
        elif self.checkpoint.exists():
            kept = f"The state is in {self.checkpoint}: go on with the same command and --resume."
        else:
            kept = "There is no state yet; start again."
        return UnfinishedError(f"{cause} {where}. {kept}", status)
