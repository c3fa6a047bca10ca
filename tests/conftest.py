"""Fixtures that all layers use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import kraft.datasets
from kraft.data import Dataset, read

torch.set_num_threads(1)  # the matrices of tests are small; threads only wait for each other
_BESIDE_PROJECT = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of third-party data (``data/``, ``models/``, ``geometries/``); skip without it."""
    folder = Path(os.environ.get("KRAFT_REFERENCE_DATA", _BESIDE_PROJECT))
    if not (folder / "data").is_dir():
        pytest.skip(
            f"no reference data in {folder}: set KRAFT_REFERENCE_DATA to the folder that holds them"
        )
    return folder


pytest.register_assert_rewrite(
    "contracts.descriptor_contract",
    "contracts.kernel_contract",
    "contracts.operator_contract",
    "contracts.solver_contract",
)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Every device that torch can compute on."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    return str(request.param)


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Both precisions; tolerances follow from ``torch.finfo(dtype).eps``."""
    return {"float64": torch.float64, "float32": torch.float32}[request.param]


@pytest.fixture(scope="session")
def ethanol() -> Dataset:
    """The 2000 frames of ethanol that ship with kraft."""
    return read(Path(kraft.datasets.__file__).with_name("ethanol_gfn2.npz"))


@pytest.fixture(scope="session")
def ethanol_parts(ethanol: Dataset) -> kraft.Split:
    """60 frames of ethanol to train on and 200 to test on."""
    return kraft.split(ethanol, n_train=60, n_test=200)


@pytest.fixture(scope="session")
def ethanol_force_field(ethanol_parts: kraft.Split) -> kraft.ForceField:
    """A small force field of ethanol, with its 6 symmetries: accurate to about 2 kcal/mol/Å."""
    force_field, _ = kraft.train(
        ethanol_parts.train, kernel="matern52", length_scale=10.0, regularization=1e-10
    )
    return force_field
