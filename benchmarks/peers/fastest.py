"""Give the peer its best settings: sgdml's faster path, thread count and assembly.

Which of sgdml's settings is fastest depends on the machine and on the size of the model, so each
is measured and the best one counts. Every run is a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .environment import run_peer


def sgdml_predictions(
    model: str | Path,
    positions: str | Path,
    *,
    batch_sizes: tuple[int, ...] = (1, 64),
    calculator_steps: int = 0,
    threads: int = 2,
    min_seconds: float = 1.0,
) -> dict[str, Any]:
    """Time sgdml's predictions with one and with ``threads`` linear-algebra threads.

    Worker processes and threads compete for cores: with workers one thread each is best, without
    them all threads are. The answer has the two runs of ``sgdml_predict.py`` under ``runs`` and
    the smaller figure of each kind under ``microseconds_per_geometry`` and
    ``calculator_microseconds``.
    """
    runs = [
        run_peer(
            "sgdml_predict.py",
            {
                "model": str(model),
                "positions": str(positions),
                "batch_sizes": list(batch_sizes),
                "calculator_steps": calculator_steps,
                "processes": threads,
                "min_seconds": min_seconds,
            },
            threads=count,
            watch_memory=False,
        )
        for count in sorted({1, threads})
    ]
    best = {
        size: _smaller([run["microseconds_per_geometry"][size] for run in runs])
        for size in runs[0]["microseconds_per_geometry"]
    }
    answer: dict[str, Any] = {"microseconds_per_geometry": best, "runs": runs}
    if calculator_steps:
        answer["calculator_microseconds"] = _smaller([r["calculator_microseconds"] for r in runs])
    return answer


def sgdml_training(request: dict[str, Any], *, threads: int = 2) -> dict[str, Any]:
    """Train with both of sgdml's kernel assemblies and return the run with the shorter total.

    ``others`` holds the slower run; the smaller peak of the two is ``smallest_peak_bytes``, so
    that a comparison of memory is not decided by the choice for speed. Each run writes its model
    beside ``request["model"]``, with ``_numpy`` or ``_torch`` in its name; ``model`` says which.
    """
    model = Path(request["model"])
    runs = [
        run_peer(
            "sgdml_train.py",
            {
                **request,
                "torch_assembly": name == "torch",
                "model": str(model.with_name(f"{model.stem}_{name}.npz")),
            },
            threads=threads,
        )
        for name in ("numpy", "torch")
    ]
    runs.sort(key=lambda run: float(run["seconds"]["total"]))
    peaks = [
        run["process"]["peak_tree_bytes"] or run["process"]["max_process_bytes"] for run in runs
    ]
    return {**runs[0], "others": runs[1:], "smallest_peak_bytes": min(peaks)}


def _smaller(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: min(row[key] for row in rows if key in row) for key in rows[0]}
