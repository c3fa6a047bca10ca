"""What is trained: data, sizes, settings and bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

GIGABYTE = 10**9
RESERVE = 800_000_000
"""Of the memory of a bar, what is left to the interpreter, its libraries, data and test."""

PAPER = MappingProxyType({"kernel": "matern52", "length_scale": 20.0, "regularization": 1e-10})
"""sgdml's kernel and regularization, with the length scale it chooses for aspirin."""

Kind = Literal["training", "iteration", "counts", "time to error", "memory", "product"]


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes
    ----------
    kind
        How it is measured and shown.
    label
        Molecule and setting, as the page names them.
    file, test_file
        Data; without a test file the test geometries come from ``file``.
    n_train, n_test, n_valid
        Geometries; ``n_test`` is None for all of a test file.
    settings
        Kernel, length scale, regularization and symmetries where they are fixed.
    options
        Fields of kraft's ``SolverOptions``.
    memory, seconds, force_mae
        Bars: bytes, seconds, kcal/mol/Å. The memory also limits the solver.
    peer_memory
        GiB that sgdml may use.
    device
        Where kraft works.
    """

    kind: Kind
    label: str
    file: str
    n_train: int
    test_file: str | None = None
    n_test: int | None = None
    n_valid: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    memory: float | None = None
    seconds: float | None = None
    force_mae: float | None = None
    peer_memory: float = 8.0
    device: str = "cpu"
    ranks: tuple[int, ...] = ()

    def quick(self) -> Case:
        """Return a tiny version that proves that the row works."""
        ranks = tuple(max(20, rank // 40) for rank in self.ranks)
        return replace(
            self,
            n_train=max(10, self.n_train // 40),
            n_test=10,
            n_valid=min(self.n_valid, 10),
            ranks=ranks,
            peer_memory=0.05,
        )


ASPIRIN = "data/aspirin_ccsd_train.npz"
ASPIRIN_TEST = "data/aspirin_ccsd_test.npz"
ETHANOL = "data/ethanol_ccsd_t_train.npz"
TETRAPEPTIDE = "data/ac_ala3_nhme_gfn2.npz"
CATCHER = "data/catcher_gfn2.npz"


def _tetrapeptide(n_train: int, **changes: Any) -> Case:
    base = Case("training", "Ac-Ala3-NHMe, GFN2-xTB", TETRAPEPTIDE, n_train, n_test=1000)
    return replace(base, memory=8 * GIGABYTE, seconds=45 * 60, **changes)


_ASPIRIN_1000 = Case(
    "training",
    "aspirin, CCSD",
    ASPIRIN,
    1000,
    ASPIRIN_TEST,
    memory=8 * GIGABYTE,
    seconds=15 * 60,
    force_mae=0.77,
)
_CATCHER = Case(
    "training", "catcher, GFN2-xTB", CATCHER, 200, n_test=200, memory=16 * GIGABYTE, seconds=3600
)

_ETHANOL_900 = Case(
    "training",
    "ethanol, CCSD(T)",
    ETHANOL,
    900,
    n_test=98,
    memory=2 * GIGABYTE,
    seconds=40,
)

CASES: dict[str, Case] = {
    "aspirin-1000": _ASPIRIN_1000,
    "aspirin-1000-sgdml-settings": replace(_ASPIRIN_1000, settings=PAPER),
    "aspirin-1000-against-sgdml": replace(_ASPIRIN_1000, kind="iteration", settings=PAPER),
    "iterations-aspirin-100": replace(
        _ASPIRIN_1000, kind="counts", n_train=100, settings=PAPER, peer_memory=0.12
    ),
    "iterations-aspirin-200": replace(
        _ASPIRIN_1000, kind="counts", n_train=200, settings=PAPER, peer_memory=0.35
    ),
    "ethanol-900": _ETHANOL_900,
    "ethanol-900-equal": replace(
        _ETHANOL_900, label="ethanol, CCSD(T), equal weights", settings={"feature_weights": None}
    ),
    "ac-ala3-100": _tetrapeptide(100),
    "ac-ala3-200": _tetrapeptide(200),
    "ac-ala3-500": _tetrapeptide(500),
    "ac-ala3-1000": _tetrapeptide(1000),
    "catcher-200": _CATCHER,
    "catcher-200-no-symmetries": replace(
        _CATCHER, label="catcher, GFN2-xTB, no symmetries", settings={"use_symmetries": False}
    ),
    "time-to-error-200": replace(
        _ASPIRIN_1000, kind="time to error", n_train=200, n_valid=100, settings=PAPER
    ),
    "time-to-error-500": replace(
        _ASPIRIN_1000, kind="time to error", n_train=500, n_valid=100, settings=PAPER
    ),
    "preconditioner-memory": replace(
        _ASPIRIN_1000, kind="memory", settings=PAPER, ranks=(1000, 3000)
    ),
    "aspirin-1000-cuda": replace(_ASPIRIN_1000, device="cuda", memory=None, seconds=15),
    "ac-ala3-2000-cuda": replace(_tetrapeptide(2000), device="cuda", memory=None, seconds=600),
    "product-cuda": replace(_ASPIRIN_1000, kind="product", settings=PAPER, device="cuda"),
}
"""Every row, by the name that ``--row`` takes."""

RUN_BY_DEFAULT = tuple(name for name in CASES if name != "ac-ala3-1000")
