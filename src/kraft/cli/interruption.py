"""Ctrl-C and SIGTERM in a long run: the first stops it cleanly, a second at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], None]


class StopSwitch:
    """Set by a signal while someone looks at it."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Let the first signal set the switch, and a second one interrupt at once."""

        def handle(number: int, _frame: FrameType | None) -> None:
            if self.requested:
                interrupt(number, None)
            self.requested = True

        with handling(handle):
            yield


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Interrupt at once, whatever the signal."""
    raise KeyboardInterrupt


@contextmanager
def resumable(state: Path) -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, and tell how to go on when a state was saved before either."""
    try:
        with handling(interrupt):
            yield
    except KeyboardInterrupt:
        if not state.exists():
            raise
        message = f"The state is in {state}: go on with the same command and --resume."
        raise KeyboardInterrupt(message) from None


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Handle the signals for a while; those that are ignored, as in the background, stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    changed = [number for number, old in before.items() if old is not signal.SIG_IGN]
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number] or signal.SIG_DFL)
