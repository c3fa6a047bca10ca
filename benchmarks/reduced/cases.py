"""The molecules, how their frames are split, and the rows that are measured of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

PAPER_SPEED = {
    "ac-ala3": {1.0: 1.00, 0.8: 1.19, 0.6: 1.48, 0.4: 1.93, 0.2: 2.62},
    "catcher": {1.0: 1.00, 0.8: 1.23, 0.6: 1.50, 0.4: 2.10, 0.2: 3.83},
}
"""Table S1 of paper 003: relative deployment speed."""


@dataclass(frozen=True)
class Case:
    """A molecule.

    Attributes
    ----------
    n_first
        Training frames of the model whose features' importance is measured; it need not be an
        accurate one.
    n_train, n_valid, n_test
        Frames of the models compared; validation frames choose length scale and regularization.
    n_frames
        Frames that importance and maps are measured on.
    keeps
        Descriptor sizes.
    mapped
        The smaller size whose interaction map is shown.
    symmetric
        Whether symmetries are found in the data; the paper used none.
    bars
        Smallest speed-up asked for, by size; largest error relative to all features.
    threshold
        Å that divides compact from extended frames (Table S2), if it is measured.
    n_timed
        Training frames of a model of random coefficients that importance is timed with, if any.
    cut
        What was made smaller than asked for, and why.
    """

    name: str
    label: str
    file: str
    n_atoms: int
    n_first: int
    n_train: int
    n_valid: int
    n_test: int
    n_frames: int = 100
    keeps: tuple[float, ...] = (1.0, 0.8, 0.6, 0.4, 0.2)
    mapped: float = 0.4
    symmetric: bool = True
    kernel: str = "matern52"
    length_scale: float | None = None
    regularization: float | None = None
    bars: tuple[tuple[float, float, float], ...] = ()
    threshold: float | None = None
    n_timed: int | None = None
    cut: str = ""

    @property
    def rows(self) -> tuple[str, ...]:
        """Keys of the rows, in the order in which they must be measured."""
        sizes = [f"{self.name}:{keep:g}" for keep in self.keeps]
        more = [f"{self.name}:extent"] if self.threshold is not None else []
        return (
            f"{self.name}:importance",
            *sizes,
            f"{self.name}:maps",
            f"{self.name}:robustness",
            *([f"{self.name}:importance-time"] if self.n_timed else []),
            *more,
        )

    def quick(self) -> Case:
        """Return a case of seconds."""
        return replace(
            self,
            n_first=10,
            n_train=12,
            n_valid=8,
            n_test=10,
            n_frames=3,
            keeps=(1.0, self.mapped),
            n_timed=12,
            symmetric=False,
            length_scale=40.0,
            regularization=1e-8,
        )


CASES = {
    case.name: case
    for case in (
        Case(
            "ac-ala3",
            "Ac-Ala3-NHMe, GFN2-xTB",
            "data/ac_ala3_nhme_gfn2.npz",
            42,
            100,
            200,
            200,
            1000,
            bars=((0.6, 1.4, 1.0), (0.4, 1.4, 1.0)),
            threshold=11.0,
            n_timed=1000,
            cut="The bar asks for 1000 training frames. With 243 symmetries those take more than "
            "an hour of two cores for every size; these are 200. Speeds by size do not depend on "
            "that.",
        ),
        Case(
            "catcher",
            "buckyball catcher, GFN2-xTB",
            "data/catcher_gfn2.npz",
            148,
            50,
            100,
            30,
            60,
            n_frames=30,
            keeps=(1.0, 0.4, 0.2),
            mapped=0.2,
            bars=((0.2, 3.0, 1.05),),
            cut="The bar asks for 300 training frames; these are 100, for the same reason.",
        ),
    )
}
