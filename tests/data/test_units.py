from __future__ import annotations

import ase.units
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.core.errors import UnitError
from kraft.data.units import ENERGY_FACTORS, LENGTH_FACTORS, Units


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("kcal/mol", "kcal/mol"),
        ("Kcal/mol", "kcal/mol"),
        ("kcal mol^-1", "kcal/mol"),
        ("kcal/mol ", "kcal/mol"),
        ("KJ/mol", "kJ/mol"),
        ("Ha", "hartree"),
        ("Eh", "hartree"),
        ("a.u.", "hartree"),
        ("EV", "eV"),
        ("meV", "meV"),
        ("Ry", "rydberg"),
        ("cm^-1", "1/cm"),
    ],
)
def test_energy_spellings(text: str, name: str) -> None:
    assert Units(text).energy == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ang", "Å"),
        ("Angstrom", "Å"),
        ("angstroms", "Å"),
        ("A", "Å"),
        ("\u212b", "Å"),
        ("Å", "Å"),
        ("Bohr", "bohr"),
        ("a0", "bohr"),
        ("nm", "nm"),
    ],
)
def test_length_spellings(text: str, name: str) -> None:
    assert Units(length=text).length == name


def test_factors_are_those_of_ase() -> None:
    units = Units("kcal/mol", "bohr")
    assert units.energy_factor == ase.units.kcal / ase.units.mol
    assert units.length_factor == ase.units.Bohr
    assert units.force_factor == pytest.approx(0.0433641153 / 0.5291772105, rel=1e-6)
    assert Units("hartree").energy_factor == pytest.approx(27.211386, rel=1e-6)


def test_labels() -> None:
    units = Units("kcal/mol")
    assert (units.energy_label, units.length_label) == ("kcal/mol", "Å")
    assert units.force_label == "kcal/mol/Å"


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("kcal/mol", Units("kcal/mol")),
        ("kcal/mol/Ang", Units("kcal/mol")),
        ("eV/Å", Units()),
        ("Ha/bohr", Units("hartree", "bohr")),
        ("au", Units("hartree", "bohr")),
    ],
)
def test_parse(text: str, units: Units) -> None:
    assert Units.parse(text) == units


@pytest.mark.parametrize("text", ["furlong", "", "MeV", "kcal/mol/furlong", "kcal/"])
def test_unknown_units_list_the_known(text: str) -> None:
    with pytest.raises(UnitError, match="Known energy units: eV, meV, kcal/mol"):
        Units.parse(text)
    with pytest.raises(UnitError, match="Known length units: Å, bohr"):
        Units(length="parsec")


@given(st.sampled_from(sorted(ENERGY_FACTORS)), st.sampled_from(sorted(LENGTH_FACTORS)))
def test_force_label_parses_back(energy: str, length: str) -> None:
    units = Units(energy, length)
    assert Units.parse(units.force_label) == units
