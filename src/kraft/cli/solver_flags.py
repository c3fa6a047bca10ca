"""Flags that say how the linear system is solved, and how long that may take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from kraft.cli.options import Flag, parse_memory
from kraft.core.errors import OptionError
from kraft.models.solver_options import DEFAULT_TOLERANCE, RankRequest, SolverOptions
from kraft.models.training import CHECKPOINT_INTERVAL
from kraft.solvers.preconditioners import METHODS

SOLVER_GROUP = Group("Solver", sort_key=45)
RUN_GROUP = Group("Long runs", sort_key=46)

_TIME = re.compile(
    r"(?:([0-9.]+)\s*d)?\s*(?:([0-9.]+)\s*h)?\s*(?:([0-9.]+)\s*m(?:in)?)?\s*(?:([0-9.]+)\s*s?)?",
    flags=re.IGNORECASE,
)
_RULES: dict[str, Literal["fastest", "rule", "auto"]] = {
    "fastest": "fastest",
    "rule": "rule",
    "auto": "auto",
}
_SECONDS = (86400.0, 3600.0, 60.0, 1.0)


@Parameter(name="*", group=SOLVER_GROUP)
@dataclass(frozen=True)
class SolverFlags:
    """Solver, preconditioner, accuracy and memory."""

    solver: Annotated[
        Literal["auto", "dense", "iterative"],
        Parameter(help="dense factorizes the matrix; iterative needs little memory."),
    ] = "auto"
    preconditioner: Annotated[
        str, Parameter(help=f"Of the iterative solver: auto, {', '.join(METHODS)}.")
    ] = "auto"
    rank: Annotated[
        str,
        Parameter(
            help=(
                "Columns in the preconditioner: 500, 5%, fastest (predicted), auto (measured), "
                "or rule (of thumb)."
            )
        ),
    ] = "fastest"
    block_geometries: Annotated[
        int | None,
        Parameter(
            help="Frames in a block of its remainder; 0: the papers' shift. Chosen if not given."
        ),
    ] = None
    tolerance: Annotated[
        float, Parameter(help="Relative residual at which the iterative solver stops.")
    ] = DEFAULT_TOLERANCE
    stop: Annotated[
        Literal["residual", "validation"],
        Parameter(help="validation stops as soon as the validation error no longer improves."),
    ] = "residual"
    max_iterations: Annotated[int | None, Parameter(help="Iterations at most.")] = None
    max_memory: Annotated[
        str | None, Parameter(help="Memory the solver may use, for example 8GB; what is free.")
    ] = None
    accept_unconverged: Annotated[
        bool, Flag, Parameter(help="Make a model of what was reached, marked for ever.")
    ] = False

    @property
    def memory_limit(self) -> int | None:
        """Bytes that the solver may use, or None."""
        return None if self.max_memory is None else parse_memory(self.max_memory)

    def options(self, max_time: float | None = None) -> SolverOptions:
        """Return these flags as :func:`kraft.train` takes them; OptionError when one is wrong."""
        return SolverOptions(
            solver=self.solver,
            preconditioner=self.preconditioner,
            rank=parse_rank(self.rank),
            block_geometries=self.block_geometries,
            tolerance=self.tolerance,
            stop=self.stop,
            max_iterations=self.max_iterations,
            max_memory=self.memory_limit,
            max_time=max_time,
            accept_unconverged=self.accept_unconverged,
        )


@Parameter(name="*", group=RUN_GROUP)
@dataclass(frozen=True)
class RunFlags:
    """Time limit, saved states, resuming."""

    max_time: Annotated[
        str | None,
        Parameter(help="Stop after 90 (seconds), 30m, 1h30m …, so that --resume can go on."),
    ] = None
    checkpoint_interval: Annotated[
        str, Parameter(help="Time between saved states of the iterative solver.")
    ] = f"{CHECKPOINT_INTERVAL:.0f}s"
    resume: Annotated[
        bool, Flag, Parameter(help="Go on with an unfinished training; same command as before.")
    ] = False

    @property
    def seconds(self) -> float | None:
        """The time limit in seconds, or None."""
        return None if self.max_time is None else parse_time(self.max_time)

    @property
    def interval(self) -> float:
        """Seconds between saved states."""
        return parse_time(self.checkpoint_interval)


def parse_rank(text: str) -> RankRequest:
    """Return the rank that ``500``, ``5%``, ``fastest``, ``rule`` or ``auto`` means.

    Examples
    --------
    >>> parse_rank("500"), parse_rank("5%"), parse_rank("rule")
    (500, 0.05, 'rule')
    """
    if text in _RULES:
        return _RULES[text]
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100.0
        number = float(text)
    except ValueError:
        raise OptionError(
            f"Expected a rank such as 500, 5%, fastest, auto or rule, got {text!r}."
        ) from None
    return int(number) if number.is_integer() else number


def parse_time(text: str) -> float:
    """Return the seconds that ``90``, ``45s``, ``30m``, ``1h30m`` or ``2d`` means.

    Raises
    ------
    OptionError
        When the text is no span of time.

    Examples
    --------
    >>> parse_time("90"), parse_time("1h30m"), parse_time("0.5 h")
    (90.0, 5400.0, 1800.0)
    """
    match = _TIME.fullmatch(text.strip())
    try:
        parts = [] if match is None else [float(part or 0.0) for part in match.groups()]
    except ValueError:
        parts = []
    seconds = sum(part * unit for part, unit in zip(parts, _SECONDS, strict=False))
    if not seconds > 0.0:
        raise OptionError(f"Expected a time such as 90 (seconds), 30m or 1h30m, got {text!r}.")
    return seconds
