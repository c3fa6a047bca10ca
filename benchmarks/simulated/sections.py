"""Parts that sections of the page share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reporting import Figures, table

Rows = dict[str, Figures]
Shown = dict[str, str]
HEADER = ("what", "paper", "here", "agreement")


def image(path: Path) -> str:
    """Return the markdown of a plot beside the page."""
    alt = path.stem.removeprefix("dynamics_").replace("_", " ")
    return f"![{alt}]({path.name})\n"


def plots(shown: Shown, *names: str) -> list[str]:
    """Return those plots that there are."""
    return [shown[name] for name in names if name in shown]


def comparison(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the table that compares with a paper, or nothing."""
    return [table(HEADER, lines)] if lines else []


def agree(ours: float, theirs: float, allowed: float) -> str:
    """Return whether a figure is as near to the paper's as allowed."""
    return "yes" if abs(ours - theirs) <= allowed else f"no: {ours - theirs:+.2g}"


def percent(share: Figures) -> str:
    """Return a share with its error."""
    few = "" if share["converged"] else " (error is a lower bound)"
    return f"{100 * share['mean']:.1f} ± {100 * share['error']:.1f} %{few}"
