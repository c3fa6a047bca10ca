"""The rows: which model, how it is simulated, what is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Experiment = Literal[
    "profile", "md", "pimd", "cold", "dihedrals", "peptide", "steered", "catcher-md", "catcher-pimd"
]


@dataclass(frozen=True)
class ModelCase:
    """A model to train.

    Attributes
    ----------
    label
        Molecule and level of theory.
    file
        Data, in the folder of reference data.
    n_train, n_test
        Frames to train and to test on; None for all that are left.
    kernel, length_scale, regularization
        Of the model; not chosen again, to save time.
    keep
        Share of the features that are kept (paper 003).
    n_first, n_looked_at
        For a reduced model: training frames of the model that importance is measured with, and
        frames that it is measured on.
    forces_only
        The energies of the file are not reference energies.
    n_quick
        Training frames of a run that only proves that the script works.
    """

    label: str
    file: str
    n_train: int
    n_test: int | None
    length_scale: float
    regularization: float
    kernel: str = "matern52"
    keep: float = 1.0
    n_first: int = 0
    n_looked_at: int = 10
    forces_only: bool = False
    n_quick: int = 40

    def quick(self) -> ModelCase:
        """Return a model of seconds."""
        return replace(self, n_train=self.n_quick, n_test=10, n_first=self.n_quick, n_looked_at=2)


ETHANOL = ModelCase("ethanol, CCSD(T)", "data/ethanol_ccsd_t_train.npz", 900, None, 15.0, 1e-10)
MALONALDEHYDE = ModelCase(
    "malonaldehyde, CCSD(T)", "data/malonaldehyde_ccsd_t_train.npz", 900, None, 40.0, 1e-11
)
ASPIRIN = ModelCase("aspirin, CCSD", "data/aspirin_ccsd_train.npz", 600, None, 30.0, 1e-10)
PEPTIDE = ModelCase(
    "Ac-Ala3-NHMe, GFN2-xTB", "data/ac_ala3_nhme_gfn2.npz", 200, 1000, 64.0, 3e-10, n_quick=12
)

MODELS = {
    "ethanol-cc": ETHANOL,
    "ethanol-dft": replace(
        ETHANOL, label="ethanol, PBE+TS", file="data/md17_ethanol_schnetpack2000.npz"
    ),
    "ethanol-cc-gaussian": replace(
        ETHANOL,
        label="ethanol, CCSD(T), Gaussian kernel",
        kernel="gaussian",
        length_scale=1.09,
        regularization=3e-8,
    ),
    "malonaldehyde-cc": MALONALDEHYDE,
    "malonaldehyde-dft": replace(
        MALONALDEHYDE,
        label="malonaldehyde, PBE+TS",
        file="data/md17_malonaldehyde_recovered.npz",
        forces_only=True,
    ),
    "aspirin-cc": ASPIRIN,
    "aspirin-dft": replace(
        ASPIRIN,
        label="aspirin, PBE+TS",
        file="data/md17_aspirin_recovered.npz",
        forces_only=True,
    ),
    "peptide-full": PEPTIDE,
    "peptide-reduced": replace(
        PEPTIDE, label="Ac-Ala3-NHMe, GFN2-xTB, 60 % of the features", keep=0.6, n_first=50
    ),
    "catcher": ModelCase(
        "buckyball catcher, GFN2-xTB", "data/catcher_gfn2.npz", 60, 100, 43.0, 4e-12, n_quick=6
    ),
}


@dataclass(frozen=True)
class Sampling:
    """Replicas of classical Langevin dynamics.

    Attributes
    ----------
    replicas
        How many.
    length
        ps of each, what is left out at the start not counted.
    equilibration
        ps that are left out.
    interval
        fs between frames.
    timestep
        fs.
    """

    replicas: int
    length: float
    equilibration: float = 2.0
    interval: float = 20.0
    timestep: float = 0.5


@dataclass(frozen=True)
class Quantum:
    """Path-integral simulations, one after the other, each from another start.

    Attributes
    ----------
    runs
        How many.
    length, equilibration
        ps of each, and ps that are left out before.
    beads
        Of the ring.
    interval
        fs between frames.
    every
        Of the frames of the beads every n-th is looked at; of the centroid all.
    """

    runs: int
    length: float
    beads: int = 16
    equilibration: float = 1.0
    interval: float = 2.0
    every: int = 10
    timestep: float = 0.5


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes
    ----------
    experiment
        What is done.
    model, others
        Keys of the models.
    sampling
        Classical dynamics for distributions.
    spectral
        Classical dynamics for spectra, which go on from the ends of ``sampling`` with velocity
        rescaling and frames that are close in time.
    quantum
        Path integrals for both.
    temperature
        K.
    resolution
        1/cm, of the spectra: segments of 48 ps over it.
    """

    experiment: Experiment
    model: str
    others: tuple[str, ...] = ()
    sampling: Sampling | None = None
    spectral: Sampling | None = None
    quantum: Quantum | None = None
    temperature: float = 300.0
    resolution: float = 12.0

    @property
    def models(self) -> tuple[str, ...]:
        """Keys of all models."""
        return (self.model, *self.others)

    def quick(self) -> Row:
        """Return a row of seconds."""
        sampling, spectral, quantum = self.sampling, self.spectral, self.quantum
        return replace(
            self,
            sampling=sampling and replace(sampling, replicas=4, length=0.4, equilibration=0.1),
            spectral=spectral and replace(spectral, replicas=2, length=0.5),
            quantum=quantum
            and replace(
                quantum, runs=min(2, quantum.runs), length=0.4, equilibration=0.05, beads=4
            ),
        )


PEPTIDE_SAMPLING = Sampling(6, 18.0, equilibration=1.0, timestep=1.0)
PULLED = Sampling(12, 1.2, equilibration=0.0, interval=5.0)
SPECTRAL = Sampling(16, 12.0, equilibration=0.0, interval=2.0)

ROWS: dict[str, Row] = {
    "ethanol-profile": Row("profile", "ethanol-cc", ("ethanol-dft", "ethanol-cc-gaussian")),
    "ethanol-md": Row("md", "ethanol-cc", sampling=Sampling(32, 25.0), spectral=SPECTRAL),
    "ethanol-md-dft": Row("md", "ethanol-dft", sampling=Sampling(32, 15.0), spectral=SPECTRAL),
    "ethanol-pimd": Row("pimd", "ethanol-cc", quantum=Quantum(4, 15.0)),
    "ethanol-100": Row(
        "cold",
        "ethanol-cc",
        sampling=Sampling(16, 2.0, equilibration=2.0),
        spectral=SPECTRAL,
        quantum=Quantum(1, 12.0, beads=32),
        temperature=100.0,
    ),
    "malonaldehyde-cc": Row(
        "dihedrals",
        "malonaldehyde-cc",
        sampling=Sampling(32, 20.0),
        spectral=replace(SPECTRAL, length=8.0),
        quantum=Quantum(2, 10.0),
    ),
    "malonaldehyde-dft": Row(
        "dihedrals",
        "malonaldehyde-dft",
        sampling=Sampling(32, 20.0),
        spectral=replace(SPECTRAL, length=8.0),
        quantum=Quantum(2, 10.0),
    ),
    "aspirin-cc": Row(
        "dihedrals",
        "aspirin-cc",
        sampling=Sampling(32, 10.0),
        spectral=replace(SPECTRAL, replicas=8, length=4.0),
        quantum=Quantum(2, 5.0),
        resolution=20.0,
    ),
    "aspirin-dft": Row(
        "dihedrals",
        "aspirin-dft",
        sampling=Sampling(32, 10.0),
        spectral=replace(SPECTRAL, replicas=8, length=4.0),
        quantum=Quantum(2, 5.0),
        resolution=20.0,
    ),
    "peptide-full": Row("peptide", "peptide-full", sampling=PEPTIDE_SAMPLING),
    "peptide-reduced": Row("peptide", "peptide-reduced", sampling=PEPTIDE_SAMPLING),
    "steered-full": Row("steered", "peptide-full", sampling=PULLED),
    "steered-reduced": Row("steered", "peptide-reduced", sampling=PULLED),
    "catcher-md": Row(
        "catcher-md", "catcher", sampling=Sampling(4, 6.0, 1.0, 2.0), resolution=30.0
    ),
    "catcher-pimd": Row(
        "catcher-pimd", "catcher", quantum=Quantum(1, 2.5, 16, 0.5, every=5), resolution=30.0
    ),
}
