"""Make the ethanol dataset that ships with kraft (GFN2-xTB, Langevin dynamics at 500 K).

Run ``OMP_NUM_THREADS=1 python scripts/make_ethanol_dataset.py OUT.npz`` in an environment with
``ase``, ``numpy`` and ``tblite``; tblite is needed here only, never to use kraft. The trajectory
starts from ASE's G2 ethanol, is equilibrated for 2 ps and sampled every 20 fs, 2000 frames in all.
Positions and forces are stored in single precision, which rounds them by less than 1e-6 of their
size and keeps the file below a megabyte.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation
from tblite.ase import TBLite

TEMPERATURE = 500.0  # K
TIMESTEP = 0.5 * units.fs
FRICTION = 0.01 / units.fs
EQUILIBRATION_STEPS = 4000
STEPS_BETWEEN_FRAMES = 40
FRAMES = 2000
SEED = 20261120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output

    atoms = molecule("CH3CH2OH")
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.1, verbosity=0)
    generator = np.random.default_rng(SEED)
    MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=generator)
    Stationary(atoms)
    ZeroRotation(atoms)
    dynamics = Langevin(
        atoms, TIMESTEP, temperature_K=TEMPERATURE, friction=FRICTION, rng=generator
    )
    dynamics.run(EQUILIBRATION_STEPS)

    positions, energies, forces = [], [], []
    for _ in range(FRAMES):
        dynamics.run(STEPS_BETWEEN_FRAMES)
        positions.append(atoms.get_positions() - atoms.get_center_of_mass())
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())

    to_kcal = units.mol / units.kcal  # eV -> kcal/mol
    np.savez_compressed(
        output,
        type="d",
        name="ethanol_gfn2",
        theory="GFN2-xTB (tblite), Langevin 500 K",
        z=atoms.numbers.astype(np.uint8),
        R=np.asarray(positions, dtype=np.float32),
        E=np.asarray(energies, dtype=np.float64)[:, None] * to_kcal,
        F=np.asarray(forces, dtype=np.float32) * np.float32(to_kcal),
        r_unit="Ang",
        e_unit="kcal/mol",
    )


if __name__ == "__main__":
    main()
