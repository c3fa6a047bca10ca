"""Where the process starts: before the slow imports, so that Ctrl-C ends these cleanly, too."""

from __future__ import annotations

import os
import signal
from types import FrameType

_EXIT_INTERRUPTED = 130  # that of kraft.cli.boundary, which imports too much to be imported here


def main() -> int:
    """Import the command line and run it; an interruption until it takes over is silent."""
    started_by_hand = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if started_by_hand:  # otherwise interruptions are to be ignored: a job in the background
        signal.signal(signal.SIGINT, _leave)
    # Waiting threads of torch would else keep a processor busy that SciPy's BLAS could use.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # So would those of NumPy's and SciPy's BLAS, each for 2**26 cycles after its last call.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")
    from kraft.cli.main import main as run

    if started_by_hand:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End the process at once: nothing is written yet, and imports may catch an exception."""
    os._exit(_EXIT_INTERRUPTED)
