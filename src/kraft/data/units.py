"""Units of energy and length: what a file was written in and what a person wants to read.

Inside kraft every energy is in eV and every length in Å; a :class:`Units` holds the factors to and
from another convention and the labels to print. The constants are those of :mod:`ase.units`
(CODATA 2014), so that kraft and ASE never disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import ase.units

from kraft.core.errors import UnitError

ENERGY_FACTORS: dict[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": ase.units.kcal / ase.units.mol,
    "kJ/mol": ase.units.kJ / ase.units.mol,
    "hartree": ase.units.Hartree,
    "mhartree": 1e-3 * ase.units.Hartree,
    "rydberg": ase.units.Rydberg,
    "1/cm": ase.units.invcm,
}
"""Energy units by canonical name, each in eV."""

LENGTH_FACTORS: dict[str, float] = {
    "Å": 1.0,
    "bohr": ase.units.Bohr,
    "nm": ase.units.nm,
    "pm": 1e-3 * ase.units.nm,
}
"""Length units by canonical name, each in Å."""

_ENERGY_SPELLINGS = {
    "eV": ("ev", "electronvolt", "electronvolts"),
    "meV": ("mev", "millielectronvolt", "millielectronvolts"),
    "kcal/mol": ("kcal/mol", "kcal", "kcalmol", "kcal mol-1", "kcal/mole", "kcal*mol-1"),
    "kJ/mol": ("kj/mol", "kj", "kjmol", "kj mol-1", "kj/mole", "kj*mol-1"),
    "hartree": ("hartree", "hartrees", "ha", "eh", "e_h", "au", "a.u.", "atomic"),
    "mhartree": ("mhartree", "millihartree", "mha", "meh"),
    "rydberg": ("rydberg", "rydbergs", "ry"),
    "1/cm": ("1/cm", "cm-1", "cm^-1", "invcm", "wavenumber"),
}

_LENGTH_SPELLINGS = {
    "Å": ("å", "ang", "angs", "angstrom", "angstroms", "angström", "ångström", "ångstrom", "a"),
    "bohr": ("bohr", "bohrs", "a0", "a_0", "au", "a.u.", "atomic"),
    "nm": ("nm", "nanometer", "nanometers", "nanometre"),
    "pm": ("pm", "picometer", "picometers", "picometre"),
}


@dataclass(frozen=True)
class Units:
    """An energy unit and a length unit, known by their canonical names.

    Common spellings are understood (``Units("Ha", "Bohr")`` is ``Units("hartree", "bohr")``).

    Parameters
    ----------
    energy
        One of ``eV``, ``meV``, ``kcal/mol``, ``kJ/mol``, ``hartree``, ``mhartree``, ``rydberg``,
        ``1/cm``, or a common spelling of it.
    length
        One of ``Å``, ``bohr``, ``nm``, ``pm``, or a common spelling of it.

    Raises
    ------
    UnitError
        When a unit is unknown; the message lists the known ones.

    Examples
    --------
    >>> Units("kcal/mol").force_label
    'kcal/mol/Å'
    >>> Units("Ha", "a0")
    Units(energy='hartree', length='bohr')
    """

    energy: str = "eV"
    length: str = "Å"

    def __post_init__(self) -> None:
        object.__setattr__(self, "energy", parse_energy_unit(self.energy))
        object.__setattr__(self, "length", parse_length_unit(self.length))

    @classmethod
    def parse(cls, text: str) -> Units:
        """Return the units that a spelling such as ``kcal/mol``, ``eV/Å`` or ``Ha/bohr`` means.

        The last part is the length unit when it is one; without a length unit Å is meant, except
        for atomic units (``au``), which mean hartree and bohr.

        Raises
        ------
        UnitError
            When a unit is unknown.
        """
        if _key(text) in ("au", "a.u.", "atomic"):
            return cls("hartree", "bohr")
        energy, slash, length = text.rpartition("/")
        if slash and _lookup(length, _LENGTH_SPELLINGS) is not None:
            return cls(energy, length)
        return cls(text)

    @property
    def energy_factor(self) -> float:
        """One unit of energy in eV."""
        return ENERGY_FACTORS[self.energy]

    @property
    def length_factor(self) -> float:
        """One unit of length in Å."""
        return LENGTH_FACTORS[self.length]

    @property
    def force_factor(self) -> float:
        """One unit of force in eV/Å."""
        return self.energy_factor / self.length_factor

    @property
    def energy_label(self) -> str:
        """The energy unit as it is printed."""
        return self.energy

    @property
    def length_label(self) -> str:
        """The length unit as it is printed."""
        return self.length

    @property
    def force_label(self) -> str:
        """The force unit as it is printed."""
        return f"{self.energy}/{self.length}"


def parse_energy_unit(text: str) -> str:
    """Return the canonical name of an energy unit.

    Raises
    ------
    UnitError
        When the spelling is unknown.

    Examples
    --------
    >>> parse_energy_unit("kcal mol^-1")
    'kcal/mol'
    """
    return _parse("energy", text, _ENERGY_SPELLINGS)


def parse_length_unit(text: str) -> str:
    """Return the canonical name of a length unit.

    Raises
    ------
    UnitError
        When the spelling is unknown.

    Examples
    --------
    >>> parse_length_unit("Angstrom")
    'Å'
    """
    return _parse("length", text, _LENGTH_SPELLINGS)


def _parse(kind: str, text: str, spellings: dict[str, tuple[str, ...]]) -> str:
    name = _lookup(text, spellings)
    if name is None:
        known = ", ".join(spellings)
        raise UnitError(
            f"Unknown {kind} unit {text!r}. Known {kind} units: {known}. Give one of these."
        )
    return name


def _lookup(text: str, spellings: dict[str, tuple[str, ...]]) -> str | None:
    if text.strip() == "MeV":  # mega, not milli
        return None
    key = _key(text)
    for name, known in spellings.items():
        if key in known:
            return name
    return None


def _key(text: str) -> str:
    """Return ``text`` in the form in which the spellings are listed."""
    key = " ".join(text.strip().lower().replace("\u212b", "å").split())
    return key.replace("^-1", "-1").replace("·", "*").replace("**-1", "-1")
