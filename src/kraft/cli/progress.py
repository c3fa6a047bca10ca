"""Progress of long work as bars on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from kraft.cli.console import err
from kraft.core.progress import Progress as Reporter
from kraft.core.progress import silent

DELAY = 0.5
"""Seconds for which work may go on before a bar appears."""


@contextmanager
def progress_bars() -> Iterator[Reporter]:
    """Yield a :class:`kraft.core.progress.Progress` that draws bars on standard error.

    Nothing is drawn when that is no terminal, nor for work that ends at once; the bars vanish at
    the end.
    """
    if not err.is_terminal:
        yield silent
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )
    stages = _Stages(bars)
    try:
        yield stages
    finally:
        bars.stop()


class _Stages:
    """One bar: that of the stage which reported last."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._started = time.monotonic()
        self._stage = ""
        self._task: TaskID | None = None

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        if not self._bars.live.is_started:
            if time.monotonic() - self._started < DELAY:
                return
            self._bars.start()
        if self._task is None or stage != self._stage:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._stage = stage
            self._task = self._bars.add_task(stage, total=total or None)
        self._bars.update(self._task, completed=done, total=total or None)
