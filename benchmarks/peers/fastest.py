"""Give the peer its best settings: sgdml's faster path, thread count and assembly.

Which of sgdml's settings is fastest depends on the machine and on the size of the model, so each
is measured and the best one counts. Every run is a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .environment import run_peer

WITH_WORKERS = ["default", "prepared", "workers"]
WITHOUT_WORKERS = ["one_process", "torch", "alone", "one_by_one"]


def sgdml_predictions(
    model: str | Path,
    positions: str | Path,
    *,
    batch_sizes: tuple[int, ...] = (1, 64),
    calculator_steps: int = 0,
    threads: int = 2,
    min_seconds: float = 1.0,
    slow: bool = False,
    predictions: str | Path | None = None,
) -> dict[str, Any]:
    """Time sgdml's predictions with one and with ``threads`` linear-algebra threads.

    Worker processes and threads compete for cores: with workers one thread each is best, without
    them all threads are. The answer has the two runs of ``sgdml_predict.py`` under ``runs``, the
    smaller figure of each kind under ``microseconds_per_geometry`` (and ``medians``) and
    ``calculator_microseconds``.

    ``slow`` is for models that take seconds a batch: workers are timed with one thread each only,
    single processes with all threads only, and settings are compared on eight geometries.
    """
    request = {
        "model": str(model),
        "positions": str(positions),
        "batch_sizes": list(batch_sizes),
        "calculator_steps": calculator_steps,
        "processes": threads,
        "min_seconds": min_seconds,
    }
    requests = [dict(request) for _ in sorted({1, threads})]
    if slow and threads > 1:
        requests[0] |= {"paths": WITH_WORKERS, "sweep_size": 8}
        requests[1] |= {"paths": WITHOUT_WORKERS, "sweep_size": 8}
    if predictions is not None:
        requests[-1]["predictions"] = str(predictions)
    runs = [
        run_peer("sgdml_predict.py", asked, threads=count, watch_memory=False)
        for asked, count in zip(requests, sorted({1, threads}), strict=True)
    ]
    answer: dict[str, Any] = {"runs": runs}
    for kind in ("microseconds_per_geometry", "medians"):
        answer[kind] = {
            str(size): _smaller([run[kind][str(size)] for run in runs]) for size in batch_sizes
        }
    for row in answer["microseconds_per_geometry"].values():
        if "one_by_one" in row:
            row["fastest_or_one_by_one"] = min(row["fastest"], row["one_by_one"])
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
    keys = [key for row in rows for key in row]
    return {key: min(row[key] for row in rows if key in row) for key in dict.fromkeys(keys)}
