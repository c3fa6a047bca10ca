"""Environments of their own for the peers, and one way to run and measure any script.

``run_peer("sgdml_train.py", request)`` runs a script of this folder in sgdml's environment;
``run_measured(python, script, request)`` does the same with any interpreter, kraft's included, so
that both sides of a comparison are started and measured alike: a fresh process, the same number
of threads, wall time from start to end, and the peak memory of the whole process tree.

The peak is the largest sum over all processes of the tree of their PSS (proportional set size: a
page shared by two processes counts half for each, so nothing counts twice) as ``/proc`` reports
it, looked at every 50 ms or as often as a tenth of one core's time allows. Pages of libraries
that programs outside the tree use too count for less, some tens of MB. Runs that time single
calls should not be watched at all (``watch_memory=False``). Without ``/proc`` (macOS) only the
largest single process is known (``max_process_bytes``).

Environment variables:
``KRAFT_SGDML_PYTHON``, an interpreter that has sgdml already; ``KRAFT_FCHL_PYTHON``,
``KRAFT_MACE_PYTHON`` and ``KRAFT_NEQUIP_PYTHON``, interpreters with qmllib, mace-torch and nequip;
``KRAFT_PEER_ENVIRONMENTS``, where environments are made (default ``~/.cache/kraft-benchmarks``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path
from typing import Any

SGDML_REQUIREMENTS = ("torch==2.13.0", "numpy<2", "scipy<1.14", "sgdml==1.0.3", "ase")
SCRIPTS = Path(__file__).resolve().parent
POLL_SECONDS = 0.05
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class PeerError(RuntimeError):
    """A measured script failed; the message holds the end of what it wrote."""


def sgdml_python() -> Path:
    """Return an interpreter with sgdml 1.0.3, making its environment at the first call."""
    given = given_python("KRAFT_SGDML_PYTHON")
    return given or _make_environment("sgdml-1.0.3", SGDML_REQUIREMENTS)


def given_python(variable: str) -> Path | None:
    """Return the interpreter that an environment variable names; None when it is not set.

    Raises
    ------
    PeerError
        When it names nothing that exists.
    """
    given = os.environ.get(variable)
    if not given:
        return None
    python = Path(given)
    if not python.exists():
        raise PeerError(f"{variable} names {given}, which does not exist")
    return python


def run_peer(
    script: str, request: dict[str, Any], *, threads: int = 2, watch_memory: bool = True
) -> dict[str, Any]:
    """Run a script of this folder in sgdml's environment; see :func:`run_measured`."""
    return run_measured(
        sgdml_python(), SCRIPTS / script, request, threads=threads, watch_memory=watch_memory
    )


def run_measured(
    python: str | Path,
    script: str | Path,
    request: dict[str, Any],
    *,
    threads: int = 2,
    watch_memory: bool = True,
) -> dict[str, Any]:
    """Run ``script`` with ``python`` on a request and return its answer with what it cost.

    Parameters
    ----------
    python
        The interpreter.
    script
        A script that ends in ``exchange.serve(handler)``. Arrays travel as paths of files.
    request
        Anything JSON can hold.
    threads
        Limit set in the usual variables of the linear-algebra libraries.
    watch_memory
        Whether to watch the memory of the process tree while it runs.

    Returns
    -------
    dict
        The script's answer and ``process``: ``wall_seconds``, ``peak_tree_bytes`` (sum of PSS,
        None when not watched or without ``/proc``), ``max_process_bytes`` (largest resident size of
        one process) and ``threads``.

    Raises
    ------
    PeerError
        When the script ends with an error or writes no answer.
    """
    environment = dict(os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)))
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="kraft-peer-") as name:
        folder = Path(name)
        asked, answered, said = folder / "request.json", folder / "answer.json", folder / "log"
        asked.write_text(json.dumps(request, default=_plain))
        with said.open("wb") as log:
            start = time.perf_counter()
            process = subprocess.Popen(
                [str(python), str(script), str(asked), str(answered)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            watch = _MemoryWatch(process.pid if watch_memory else None)
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.terminate()
                raise
            finally:
                peak = watch.stop()
            wall = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0 or not answered.exists():
            tail = said.read_text(errors="replace")[-4000:]
            raise PeerError(f"{Path(script).name} ended with {process.returncode}:\n{tail}")
        answer: dict[str, Any] = json.loads(answered.read_text())
    resident_unit = 1 if sys.platform == "darwin" else 1024
    answer["process"] = {
        "wall_seconds": wall,
        "peak_tree_bytes": peak,
        "max_process_bytes": usage.ru_maxrss * resident_unit,
        "threads": threads,
    }
    return answer


class _MemoryWatch:
    """Watch the memory of a process and all its descendants from a thread; None: watch nothing."""

    def __init__(self, pid: int | None) -> None:
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def stop(self) -> int | None:
        """End the watch and return the peak in bytes (None where it is not known)."""
        self._done.set()
        self._thread.join()
        return self._peak or None

    def _watch(self, pid: int | None) -> None:
        if pid is None or not Path("/proc/self/smaps_rollup").exists():
            return
        wait = POLL_SECONDS
        while not self._done.wait(wait):
            start = time.perf_counter()
            tree = _tree(pid)
            # The kernel walks all pages to find the PSS. It cannot exceed the sum of resident
            # sizes, which is cheap to read, so most of the time there is no need.
            if sum(map(_resident_memory, tree)) > self._peak:
                self._peak = max(self._peak, sum(map(_proportional_memory, tree)))
            wait = max(POLL_SECONDS, 10 * (time.perf_counter() - start))


def _tree(pid: int) -> list[int]:
    """Return a process and its descendants as ``/proc`` lists them now."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in task.read_text().split())
            except OSError:  # the thread or process has ended
                continue
    return found


def _resident_memory(pid: int) -> int:
    """Resident size of one process in bytes, shared pages included; 0 when it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _proportional_memory(pid: int) -> int:
    """PSS of one process in bytes; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _make_environment(name: str, requirements: tuple[str, ...]) -> Path:
    default = Path.home() / ".cache" / "kraft-benchmarks"
    root = Path(os.environ.get("KRAFT_PEER_ENVIRONMENTS") or default).expanduser()
    folder = root / name
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if complete.exists():
        return python
    print(f"making an environment for {name} in {folder} (once)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", *requirements],
        check=True,
    )
    complete.write_text("\n".join(requirements) + "\n")
    return python


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} to JSON")


if __name__ == "__main__":
    print(sgdml_python())
