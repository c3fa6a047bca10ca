"""Energy, entropy and free energy of harmonic vibrations, by ASE."""

from __future__ import annotations

from dataclasses import dataclass

import ase.units
from ase.thermochemistry import HarmonicThermo

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray


@dataclass(frozen=True)
class Thermochemistry:
    """What harmonic vibrations hold at a temperature; translation and rotation are not counted.

    Attributes
    ----------
    temperature
        K.
    energy
        eV, the zero-point energy included.
    entropy
        eV/K.
    """

    temperature: float
    energy: float
    entropy: float

    @property
    def free_energy(self) -> float:
        """Helmholtz free energy in eV."""
        return self.energy - self.temperature * self.entropy


def thermochemistry(wavenumbers: FloatArray, temperature: float) -> Thermochemistry:
    """Return what vibrations hold at a temperature in K.

    Imaginary modes (negative wavenumbers ``(r,)`` in 1/cm) are left out.

    Raises
    ------
    OptionError
        When the temperature is not positive.
    """
    if not temperature > 0.0:
        raise OptionError(f"Expected a positive temperature in K, got {temperature}.")
    quanta = wavenumbers[wavenumbers > 0.0] * ase.units.invcm
    if not len(quanta):
        return Thermochemistry(temperature, 0.0, 0.0)
    thermo = HarmonicThermo(quanta.tolist())
    energy = float(thermo.get_internal_energy(temperature, verbose=False))
    return Thermochemistry(
        temperature, energy, float(thermo.get_entropy(temperature, verbose=False))
    )
