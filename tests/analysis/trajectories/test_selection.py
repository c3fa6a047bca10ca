from __future__ import annotations

from itertools import pairwise

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from kraft.analysis.trajectories import BondGraph, backbone, dihedral_angles, select_atoms
from kraft.core.errors import OptionError


@pytest.fixture(scope="module")
def graph() -> BondGraph:
    """Ethanol (C0 C1 O2 H3, then five hydrogens) and, 8 Å away, water."""
    atoms = molecule("CH3CH2OH")
    atoms.extend(molecule("H2O", positions=molecule("H2O").positions + 8.0))
    return BondGraph.of(atoms.numbers, atoms.positions)


@pytest.mark.parametrize(
    ("text", "atoms"),
    [
        ("0-2,5", [0, 1, 2, 5]),
        ("O", [2, 9]),
        ("heavy", [0, 1, 2, 9]),
        ("bonded to O", [1, 3, 10, 11]),
        ("H bonded to O", [3, 10, 11]),
        ("H bonded to 2", [3]),
        ("fragment 1", [9, 10, 11]),
        ("fragment 0, 9", [*range(9), 9]),
        ("all", list(range(12))),
    ],
)
def test_words_mean_atoms(graph, text, atoms):
    np.testing.assert_array_equal(select_atoms(text, graph), atoms)


def test_bonds_are_those_of_chemistry(graph):
    assert len(graph.bonds) == 8 + 2
    assert [len(graph.neighbors[atom]) for atom in (0, 1, 2, 3)] == [4, 4, 2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("12", "0 to 11"),
        ("5-3", "rising"),
        ("Q", "Cannot tell"),
        ("fragment 2", "2 fragments"),
        ("N", "No atom"),
        ("", "Cannot tell"),
    ],
)
def test_what_means_nothing_is_refused(graph, text, message):
    with pytest.raises(OptionError, match=message):
        select_atoms(text, graph)


def test_a_cell_bonds_across_its_border():
    positions = np.array([[0.1, 0.0, 0.0], [9.6, 0.0, 0.0]])
    assert len(BondGraph.of(np.array([1, 1]), positions).bonds) == 0
    assert len(BondGraph.of(np.array([1, 1]), positions, 10.0 * np.eye(3)).bonds) == 1


def test_residues_of_a_peptide_are_found_along_the_chain(reference_data, graph):
    atoms = ase.io.read(reference_data / "geometries" / "Ac-Ala3-NHMe_ala4.xyz")
    peptide = BondGraph.of(atoms.numbers, atoms.positions)
    residues = backbone(peptide)
    assert len(residues) == 3
    for residue, following in pairwise(residues):
        assert residue.psi[3] == following.phi[1] and residue.phi[3] == following.phi[0]
    for residue in residues:
        assert [int(n) for n in atoms.numbers[list(residue.phi)]] == [6, 7, 6, 6]
        expected = atoms.get_dihedral(*residue.phi)
        found = dihedral_angles(atoms.positions[None], residue.phi)[0]
        assert (found - expected) % 360.0 == pytest.approx(0.0, abs=1e-6) or (
            found - expected
        ) % 360.0 == pytest.approx(360.0, abs=1e-6)
    with pytest.raises(OptionError, match="no residue"):
        backbone(graph)
