"""Tiles of one column: what rows are made of must not change from tile to tile."""

import pytest
import torch
from contracts.operator_contract import assembled
from kernel_cases import Case
from molecules import CHIRAL, WATER

import kraft.kernels.operator as module
from kraft.kernels import KERNELS


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
@pytest.mark.parametrize("molecule", [CHIRAL, WATER], ids=str)
def test_matrix_of_single_columns(molecule, mixes, monkeypatch):
    monkeypatch.setattr(module, "TILE_COLUMNS", 1)
    case = Case(KERNELS["matern52"], molecule, molecule.frames(3), energies=True, mixes=mixes)
    torch.testing.assert_close(assembled(case.operator), case.expected(), rtol=1e-8, atol=1e-10)
