"""The page: a table for every kind of row, each figure beside its bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reporting import Figures, number, table, verdict

from .comparison import counts_section, iteration_section, time_to_error_section
from .cost import memory_section, product_section

Rows = dict[str, Figures]


def render(rows: Rows) -> str:
    """Return the page."""
    lines = ["# Training at scale", "", "Made by `benchmarks/training_at_scale.py`.", ""]
    sections: tuple[tuple[str, Callable[[Rows], list[str]]], ...] = (
        ("training", _training_section),
        ("iteration", iteration_section),
        ("counts", counts_section),
        ("time to error", time_to_error_section),
        ("memory", memory_section),
        ("product", product_section),
    )
    for kind, section in sections:
        of_kind = {name: row for name, row in rows.items() if row["kind"] == kind}
        if of_kind:
            lines += section(of_kind)
    return "\n".join(lines)


def _training_section(rows: Rows) -> list[str]:
    header = (
        *(
            "data",
            "geometries",
            "n",
            "symmetries",
            "kernel, length scale, regularization",
            "solver",
            "rank",
        ),
        *("iterations", "residual", "wall, s", "peak, GB", "force MAE", "energy MAE"),
    )
    lines, bars, stages, notes = [], [], [], []
    for name, row in rows.items():
        run, test = row["kraft"], row["kraft"]["test"]
        outcome = run["outcome"]
        lines.append(
            [
                name,
                row["n_train"],
                run["n"],
                run["n_permutations"],
                choice(run),
                solver(run),
                outcome["rank"] or "",
                outcome["iterations"] or "",
                f"{outcome['relative_residual']:.1e}",
                number(run["process"]["wall_seconds"]),
                number(peak(run) / 1e9),
                number(test["force_mae"]),
                "" if test["energy_mae"] is None else number(test["energy_mae"]),
            ]
        )
        bars += [[name, *cells] for cells in _bars(row)]
        stages.append([name, *(number(run["seconds"][stage]) for stage in STAGES)])
        notes += [f"- {name}: {notice}" for notice in _notices(run)]
    text = ["## Start to tested model", "", table(header, lines)]
    text += [table(("row", "bar", "measured", "wanted", ""), bars), "Seconds of the stages:", ""]
    text += [table(("row", *(stage.replace("_", " ") for stage in STAGES)), stages)]
    return [*text, TRAINING_NOTES, *notes, ""]


STAGES = ("symmetry", "choice", "assembly", "factorization", "solve", "energy_offset", "test")


def choice(run: Figures) -> str:
    """Return kernel, length scale and regularization in a few characters."""
    chosen = run["choice"]
    return f"{chosen['kernel']}, {chosen['length_scale']:.3g}, {chosen['regularization']:.1g}"


def solver(run: Figures) -> str:
    """Return the solver with its preconditioner, and how it ended unless it converged."""
    outcome = run["outcome"]
    text = str(run["plan"]["solver"])
    if text == "iterative":
        blocks = run["plan"]["block_geometries"]
        text = (
            f"{outcome['preconditioner']}, blocks of {blocks}"
            if blocks
            else outcome["preconditioner"]
        )
    ended = outcome["status"]
    return text if ended in ("exact", "converged") else f"{text} (**{ended}**)"


def peak(run: Figures) -> float:
    """Return the peak memory of a process tree in bytes."""
    process = run["process"]
    return float(process["peak_tree_bytes"] or process["max_process_bytes"])


def _bars(row: Figures) -> list[list[str]]:
    bars, run = row["bars"], row["kraft"]
    cells: list[tuple[str, Any, float, float]] = []
    if bars["seconds"]:
        wall = run["process"]["wall_seconds"]
        cells.append(("wall time, s", bars["seconds"], wall, wall))
    if bars["memory"]:
        cells.append(("peak, GB", bars["memory"] / 1e9, peak(run) / 1e9, peak(run) / 1e9))
    if bars["force_mae"]:
        mae = run["test"]["force_mae"]
        cells.append(("force MAE, kcal/mol/Å", bars["force_mae"], mae, mae))
    return [
        [what, number(shown), f"{bar:g}", verdict(value <= bar)]
        for what, bar, shown, value in cells
    ]


def _notices(run: Figures) -> list[str]:
    said = [run["plan"]["reason"]] if run["plan"]["reason"] else []
    return said + ([run["outcome"]["advice"]] if run["outcome"]["advice"] else [])


TRAINING_NOTES = """\
Every row is a process of its own, from the start of the interpreter over reading the data,
symmetries and the choice of hyper-parameters to the errors on the test geometries. *n* counts the
force labels, `3 N M`; the rank is the number of columns of the preconditioner; the residual is
recomputed at the end. The peak is that of the whole process tree. Errors are in kcal/mol/Å and
kcal/mol. *factorization* is the building of the preconditioner where the solver is iterative. A
name in bold is the status of a solution that did not converge to the tolerance. Why kraft chose the
solver, and its advice:
"""
