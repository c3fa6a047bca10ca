"""Flags that say how a model is to be made."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from cyclopts import Group, Parameter

from kraft.cli.solver_flags import RunFlags, SolverFlags
from kraft.core.errors import OptionError
from kraft.core.typing import IntArray
from kraft.data import Dataset
from kraft.models.selection import Request
from kraft.symmetry.permutation_file import read_permutations

MODEL_GROUP = Group("Model", sort_key=40)


class TrainingKeywords(TypedDict):
    """Keyword arguments of :func:`kraft.train`."""

    kernel: str
    length_scale: float | None
    regularization: float | None
    feature_function: str
    energy_weight: float


@Parameter(name="*", group=MODEL_GROUP)
@dataclass(frozen=True)
class SymmetryOptions:
    """Which permutations of atoms are symmetries."""

    permutations: Annotated[
        str,
        Parameter(help="auto (found in the data), none (GDML), or a file with one on each line."),
    ] = "auto"
    max_permutations: Annotated[
        int | None, Parameter(help="Use at most this many of the permutations found.")
    ] = None

    def for_dataset(self, dataset: Dataset) -> Literal["auto"] | IntArray | None:
        """Return what :func:`kraft.train` takes: ``"auto"``, None or an array read from a file."""
        if self.permutations == "auto":
            return "auto"
        if self.permutations == "none":
            return None
        return read_permutations(Path(self.permutations), dataset.atomic_numbers)


@Parameter(name="*", group=MODEL_GROUP)
@dataclass(frozen=True)
class ModelOptions:
    """Kernel and its parameters."""

    kernel: Annotated[
        Literal["auto", "matern52", "matern72", "gaussian"],
        Parameter(help="Radial kernel; matern52 is that of the sGDML papers."),
    ] = "auto"
    length_scale: Annotated[
        float | None,
        Parameter(
            help="In units of the features, 1/Å as a rule (sgdml's sig). Chosen if not given."
        ),
    ] = None
    regularization: Annotated[
        float | None,
        Parameter(help="Added to the diagonal (the papers use 1e-10). Chosen if not given."),
    ] = None
    feature_function: Annotated[
        Literal["inverse", "inverse-sqrt", "inverse-square", "inverse-cube", "log", "exponential"],
        Parameter(help="What makes features of distances; inverse, 1/r, is the papers'."),
    ] = "inverse"
    energy_weight: Annotated[
        float, Parameter(help="Learn from energies too, with this weight; 0: from forces only.")
    ] = 0.0

    @property
    def request(self) -> Request:
        """What is given, and what is left to be chosen."""
        return Request(self.kernel, self.length_scale, self.regularization)

    def keywords(self) -> TrainingKeywords:
        """Return these options as :func:`kraft.train` takes them; OptionError when one is wrong."""
        request = self.request
        return {
            "kernel": request.kernel,
            "length_scale": request.length_scale,
            "regularization": request.regularization,
            "feature_function": self.feature_function,
            "energy_weight": self.energy_weight,
        }


@Parameter(name="*", group=MODEL_GROUP)
@dataclass(frozen=True)
class KindOptions:
    """Kind of model."""

    model: Annotated[
        Literal["sgdml", "aff"],
        Parameter(
            help=(
                "sgdml conserves energy; aff is much cheaper to train, but its forces are not "
                "exactly the gradient of its energy."
            )
        ),
    ] = "sgdml"
    criterion: Annotated[
        Literal["likelihood", "validation"] | None,
        Parameter(help="What aff chooses its parameters by; the likelihood by default."),
    ] = None

    @property
    def atomized(self) -> bool:
        """Whether an atomized force field is asked for."""
        return self.model == "aff"

    def check(self, model: ModelOptions, solving: SolverFlags, run: RunFlags) -> None:
        """Raise OptionError when options were given that this kind of model does not have."""
        if not self.atomized:
            if self.criterion is not None:
                raise OptionError(
                    "--criterion is for --model aff only; an sGDML model is chosen by its force "
                    "error on validation frames, or on training frames that are left out."
                )
            return
        foreign = [*_given(replace(solving, max_memory=None)), *_given(run)]
        foreign += ["--energy-weight"] if model.energy_weight else []
        if model.feature_function != ModelOptions.feature_function:
            raise OptionError(
                "--feature-function does not apply to --model aff: its features are the inverse "
                "distances of all pairs of atoms. Leave it out."
            )
        if foreign:
            raise OptionError(
                f"{_listed(foreign)} {'does' if len(foreign) == 1 else 'do'} not apply to --model "
                "aff: it solves one small system for each set of equivalent atoms at once, and "
                "always learns from the energies too. Leave "
                f"{'it' if len(foreign) == 1 else 'them'} out."
            )


def _given(flags: SolverFlags | RunFlags) -> list[str]:
    """Return the flags that differ from their defaults, as they are written."""
    default = type(flags)()
    return [
        "--" + item.name.replace("_", "-")
        for item in fields(flags)
        if getattr(flags, item.name) != getattr(default, item.name)
    ]


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
