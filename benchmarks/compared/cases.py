"""The rows: a molecule, a number of training frames, and who is trained with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

N_VALID = 100
N_TEST = 300
SEED = 0
HOUR = 3600.0


@dataclass(frozen=True)
class Side:
    """A program that is trained.

    Attributes
    ----------
    label
        What it is called in tables.
    script
        In ``peers/``.
    variable
        Environment variable that names its interpreter; None: kraft's own.
    request
        What the script is asked for beside the frames.
    quick
        What changes in a tiny run.
    """

    label: str
    script: str
    variable: str | None = None
    request: dict[str, Any] = field(default_factory=dict)
    quick: dict[str, Any] = field(default_factory=dict)


_FCHL_QUICK = {"search_frames": 8, "sigmas": [16.0], "moves": False}
_HOUR_QUICK = {"seconds": 5.0}

SIDES = {
    "kraft": Side("kraft, defaults", "kraft_default.py"),
    "fchl19-gp": Side(
        "FCHL19, Gaussian process",
        "fchl_train.py",
        "KRAFT_FCHL_PYTHON",
        {"regressor": "gp"},
        _FCHL_QUICK,
    ),
    "fchl19-oqml": Side(
        "FCHL19, operator learning",
        "fchl_train.py",
        "KRAFT_FCHL_PYTHON",
        {"regressor": "oqml"},
        _FCHL_QUICK,
    ),
    "mace": Side(
        "MACE, one hour", "mace_train.py", "KRAFT_MACE_PYTHON", {"seconds": HOUR}, _HOUR_QUICK
    ),
    "nequip": Side(
        "NequIP, one hour", "nequip_train.py", "KRAFT_NEQUIP_PYTHON", {"seconds": HOUR}, _HOUR_QUICK
    ),
}

MOLECULES = {
    "ethanol": ("ethanol, CCSD(T)", "data/ethanol_ccsd_t_train.npz"),
    "malonaldehyde": ("malonaldehyde, CCSD(T)", "data/malonaldehyde_ccsd_t_train.npz"),
}


@dataclass(frozen=True)
class Case:
    """A row: one side, trained with ``n_train`` frames of one molecule."""

    molecule: str
    n_train: int
    side: str
    n_valid: int = N_VALID
    n_test: int = N_TEST
    is_quick: bool = False

    @property
    def key(self) -> str:
        """Its name on the command line."""
        return f"{self.molecule}-{self.n_train}-{self.side}"

    @property
    def file(self) -> str:
        """The data, inside the folder of reference data."""
        return MOLECULES[self.molecule][1]

    @property
    def request(self) -> dict[str, Any]:
        """What its script is asked for beside the frames."""
        side = SIDES[self.side]
        return {**side.request, **(side.quick if self.is_quick else {})}

    def quick(self) -> Case:
        """Return a row of seconds."""
        return replace(self, n_train=10, n_valid=8, n_test=8, is_quick=True)


def _cases() -> list[Case]:
    cases = []
    for molecule in MOLECULES:
        for n_train in (100, 200):
            sides = ("kraft", "fchl19-gp", "fchl19-oqml")
            cases += [Case(molecule, n_train, side) for side in sides]
        cases += [Case(molecule, 200, side) for side in ("mace", "nequip")]
    return cases


CASES = {case.key: case for case in _cases()}
QUICK = tuple(f"ethanol-200-{side}" for side in SIDES)
