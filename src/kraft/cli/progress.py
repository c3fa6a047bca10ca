"""Progress of long work as bars on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

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

DELAY = 0.5
"""Seconds for which work may go on before a bar appears."""

LINE_INTERVAL = 60.0
"""Seconds between lines about a long solution where there is no terminal."""


class Display(Reporter, Protocol):
    """A :class:`kraft.core.progress.Progress` that can also show a line about the present stage."""

    def detail(self, text: str, /) -> None:
        """Show a line in place of the last."""


@contextmanager
def progress_bars() -> Iterator[Display]:
    """Yield a display that draws bars on standard error.

    Where that is no terminal, only details are shown, one a minute. Nothing is drawn for work that
    ends at once; the bars vanish at the end.
    """
    if not err.is_terminal:
        yield _Lines()
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


class _Lines:
    """Lines for a log: details now and then, no stages."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Show nothing."""

    def detail(self, text: str, /) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_INTERVAL:
            self._last = now
            err.print(text, soft_wrap=True, highlight=False)


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

    def detail(self, text: str, /) -> None:
        if self._task is not None:
            self._bars.update(self._task, description=text)
