"""A plain driver of i-PI for sgdml: its ASE calculator, one bead at a time.

Loaded by i-PI's ``<ffdirect>`` in sgdml's environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read
from ase.units import Bohr, Hartree
from sgdml.intf.ase_calc import SGDMLCalculator
from sgdml.predict import GDMLPredict

__DRIVER_NAME__ = "sgdml"
__DRIVER_CLASS__ = "SgdmlDriver"


class SgdmlDriver:
    """Energies and forces in atomic units."""

    def __init__(self, model: str, template: str, path: str, **_of_ipi: Any) -> None:
        self._atoms: Atoms = read(template, format="xyz")
        self._atoms.pbc = False
        # sgdml keeps what it found best in a file, keyed without the number of permutations
        GDMLPredict._load_cached_bmark_result = lambda *_: None
        GDMLPredict._save_cached_bmark_result = lambda *_: None
        self._atoms.calc = SGDMLCalculator(model, use_torch=path == "torch")
        if path == "alone":
            with np.load(model, allow_pickle=True) as archive:
                content = {key: archive[key] for key in archive.files}
            self._atoms.calc.gdml_predict = GDMLPredict(content, max_processes=1)

    def __call__(self, _cell: Any, pos: Any) -> tuple[float, Any, Any, str]:
        """Return energy, forces, virial and extras of one bead."""
        self._atoms.positions = Bohr * np.asarray(pos)
        forces = self._atoms.get_forces() * (Bohr / Hartree)
        energy = float(np.ravel(self._atoms.get_potential_energy())[0]) / Hartree
        return energy, forces, np.zeros((3, 3)), ""
