"""How a measured script is spoken to: a JSON request file in, a JSON answer file out.

This module runs in the peers' environments too, so it needs nothing but the standard library.
Standard output stays free for the progress messages the peers print.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def serve(handler: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer the request in the file ``argv[1]`` by writing ``handler(request)`` to ``argv[2]``.

    The answer gains ``memory_at_start_bytes``: the resident memory of the interpreter with its
    libraries imported and no work done yet, so that a peak can be given with and without it.
    """
    if len(sys.argv) != 3:
        raise SystemExit(f"usage: {sys.argv[0]} REQUEST.json ANSWER.json")
    at_start = resident_memory()
    request = json.loads(Path(sys.argv[1]).read_text())
    answer = dict(handler(request), memory_at_start_bytes=at_start)
    Path(sys.argv[2]).write_text(json.dumps(answer, indent=1, default=_plain))


def resident_memory() -> int | None:
    """Resident memory of this process in bytes; None where ``/proc`` does not exist."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def best_time(
    call: Callable[[], object], *, min_seconds: float = 1.0, min_repeats: int = 5
) -> dict[str, float]:
    """Time ``call`` again and again: ``best``, ``median`` (seconds per call) and ``repeats``.

    One call warms up; then at least ``min_repeats`` calls (two when a call takes a second or
    more) and ``min_seconds`` seconds.
    """
    start = time.perf_counter()
    call()
    if time.perf_counter() - start >= 1.0:
        min_repeats = min(2, min_repeats)
    times: list[float] = []
    while len(times) < min_repeats or math.fsum(times) < min_seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    times.sort()
    return {"best": times[0], "median": times[len(times) // 2], "repeats": len(times)}


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays, and paths, into what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} to JSON")
