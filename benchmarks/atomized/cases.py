"""The rows: which molecule, how it is split, what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["accuracy", "curve", "cost"]
Order = Literal["random", "time"]


@dataclass(frozen=True)
class Paper:
    """A row of Table I of paper 001, AFF and (sGDML): kcal/mol, kcal/mol/Å, seconds, percent."""

    n_train: int
    energy_mae: float
    force_mae: float
    seconds: float
    sgdml_energy_mae: float
    sgdml_force_mae: float
    sgdml_seconds: float
    coverage: float
    length: float


PAPER = {
    "naphthalene": Paper(1600, 0.07, 0.11, 68, 0.12, 0.11, 345, 98.5, 1.36),
    "benzene": Paper(1200, 0.04, 0.173, 23, 0.07, 0.176, 45, 85.0, 0.7),
    "uracil": Paper(1600, 0.10, 0.239, 16, 0.10, 0.249, 43, 97.8, 2.37),
    "glucose": Paper(1000, 0.09, 0.0003, 32, 0.36, 0.012, 543, 100.0, 0.03),
    "aspirin": Paper(1200, 0.06, 0.0028, 32, 0.09, 0.009, 629, 99.8, 0.08),
}


@dataclass(frozen=True)
class Case:
    """A row.

    Attributes
    ----------
    molecule
        Key of the paper's row, or a name of its own.
    kind
        ``accuracy``: errors and intervals of AFF and sGDML; ``curve``: a point of the learning
        curve, the same with fewer frames; ``cost``: time and memory of AFF and of dense sGDML.
    order
        ``random`` frames, or those of training before those of validation before those of testing.
    forces_only
        The energies of the file are not reference energies.
    force_bar, energy_bar
        Bars for AFF's errors.
    settings
        Hyper-parameters, where they are not to be chosen.
    """

    label: str
    molecule: str
    file: str
    n_train: int
    n_valid: int
    n_test: int
    kind: Kind = "accuracy"
    order: Order = "random"
    test_file: str | None = None
    forces_only: bool = False
    force_bar: float | None = None
    energy_bar: float | None = None
    settings: dict[str, float] = field(default_factory=dict)

    @property
    def paper(self) -> Paper | None:
        """The paper's row of this molecule."""
        return PAPER.get(self.molecule)

    def quick(self) -> Case:
        """Return a row of seconds."""
        settings = {"length_scale": 30.0, "regularization": 1e-9}
        return replace(self, n_train=20, n_valid=24, n_test=24, settings=settings)


GLUCOSE = Case(
    "alpha-glucose, AFF authors' run",
    "glucose",
    "data/aff_glucose_alpha.npz",
    1000,
    200,
    1000,
    force_bar=0.0003,
    energy_bar=0.09,
)
ASPIRIN = Case(
    "aspirin, AFF authors' run",
    "aspirin",
    "data/aff_aspirin_new_musen.npz",
    1200,
    200,
    1000,
    force_bar=0.0028,
    energy_bar=0.06,
)


def _recovered(molecule: str) -> Case:
    return Case(
        f"{molecule}, MD17 recovered",
        molecule,
        f"data/md17_{molecule}_recovered.npz",
        800,
        90,  # there are a few copies among the thousand frames
        100,
        forces_only=True,
    )


MD17 = {molecule: _recovered(molecule) for molecule in ("naphthalene", "benzene", "uracil")}
CURVE = (100, 200, 400, 600, 800, 1000)
CURVE_MD17 = (100, 200, 400, 600, 800)


def _curve(case: Case, size: int) -> Case:
    return replace(case, kind="curve", n_train=size, force_bar=None, energy_bar=None)


CASES: dict[str, Case] = {
    "glucose": GLUCOSE,
    "glucose-time": replace(GLUCOSE, order="time", force_bar=None, energy_bar=None),
    "aspirin": ASPIRIN,
    "aspirin-time": replace(ASPIRIN, order="time", force_bar=None, energy_bar=None),
    **MD17,
    "ethanol-cc": Case(
        "ethanol, CCSD(T)", "ethanol-cc", "data/ethanol_ccsd_t_train.npz", 600, 198, 200
    ),
    "aspirin-cc": Case(
        "aspirin, CCSD",
        "aspirin-cc",
        "data/aspirin_ccsd_train.npz",
        800,
        197,
        500,
        test_file="data/aspirin_ccsd_test.npz",
    ),
    "glucose-cost": replace(GLUCOSE, kind="cost", n_train=1000),
    "aspirin-cost": replace(ASPIRIN, kind="cost", n_train=1000),
    **{f"glucose-{size}": _curve(GLUCOSE, size) for size in CURVE},
    **{f"aspirin-{size}": _curve(ASPIRIN, size) for size in CURVE},
    **{
        f"{molecule}-{size}": _curve(case, size)
        for molecule, case in MD17.items()
        for size in CURVE_MD17
    },
}

QUICK = ("glucose", "aspirin-time", "benzene", "aspirin-cost", "glucose-100")
"""Rows that exercise every way of measuring."""

SGDML_CURVE_LABELS = 30_000
"""sGDML's point of a learning curve is measured up to this many force labels."""

INTERVAL_FRAMES = {"aff": 1000, "sgdml": 200}
"""Test frames whose intervals are computed, at most."""
