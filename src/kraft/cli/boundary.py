"""Where every exception ends: one message for a person, an exit code for a program."""

from __future__ import annotations

import errno
from collections.abc import Callable

from rich.text import Text

from kraft.cli.console import err
from kraft.cli.outputs import written_files
from kraft.core.errors import KraftError, UnfinishedError

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_UNFINISHED = 3
"""Stopped by a limit of time; the same command with --resume goes on."""
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells count."""

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")

_FULL = (errno.ENOSPC, errno.EDQUOT)


def guarded(command: Callable[[], int | None], *, debug: bool) -> int:
    """Run a command and return its exit code; failures become a message on standard error.

    With ``debug`` exceptions pass through, so that their traceback is seen.
    """
    try:
        return command() or 0
    except KeyboardInterrupt as interruption:
        if debug:
            raise
        kept = f"{_what_was_kept()} No file was left half-written."
        _fail("Interrupted", str(interruption) or kept)
        return EXIT_INTERRUPTED
    except UnfinishedError as error:
        if debug:
            raise
        _fail("Unfinished", str(error))
        return EXIT_INTERRUPTED if error.reason == "interrupted" else EXIT_UNFINISHED
    except Exception as error:
        if debug:
            raise
        _fail("Error", explain(error))
        return EXIT_ERROR


def explain(error: Exception) -> str:
    """Return what happened and what to do, in words."""
    if isinstance(error, KraftError):
        return str(error)
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        return (
            "The memory of this machine is used up. Train on fewer geometries (`kraft estimate` "
            "tells what they need), or close other programs."
        )
    return (
        f"Something went wrong that kraft did not foresee ({type(error).__name__}: {error}). This "
        "is a defect of kraft: please report it with the output of the same command and --debug."
    )


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether torch could not allocate; on a processor it says so in words only."""
    text = str(error)
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in _OUT_OF_MEMORY)


def _explain_os_error(error: OSError) -> str:
    name = f" {error.filename}" if error.filename else ""
    if error.errno in _FULL:
        return (
            f"The disk is full{f' (writing{name})' if name else ''}. {_what_was_kept()} Free some "
            "space, or write to another disk, and run the command again."
        )
    if isinstance(error, FileNotFoundError):
        return str(error) if error.errno is None else f"There is no file{name}. Check the path."
    if isinstance(error, PermissionError):
        return f"No permission to read or write{name}. Choose another place, or ask its owner."
    return f"{error.strerror or error}{f':{name}' if name else ''}. Check the path and the disk."


def _what_was_kept() -> str:
    if written_files:
        return f"Written before: {', '.join(map(str, written_files))}."
    return "Nothing was written."


def _fail(title: str, message: str) -> None:
    text = Text()
    text.append(f"{title}: ", style="bold red")
    text.append(message)
    err.print(text, soft_wrap=not err.is_terminal)
