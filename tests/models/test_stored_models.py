"""Model files of every format version that kraft ever wrote."""

from pathlib import Path

import numpy as np
import pytest

from kraft import ForceField
from kraft.models.model_file import FORMAT_VERSION

STORED = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    "name",
    [f"{kind}_format{version}" for kind in ("ethanol", "periodic") for version in (1, 2)]
    + ["mixing_format3"],
)
def test_stored_files_load_for_ever(name):
    """Never change these files; the predictions are those of the version that wrote them."""
    field = ForceField.load(STORED / f"{name}.safetensors")
    stored = np.load(STORED / f"{name}_predictions.npz")
    energies, forces = field.predict(stored["positions"])
    np.testing.assert_allclose(energies, stored["energies"], rtol=1e-12)
    scale = np.abs(stored["forces"]).max()
    np.testing.assert_allclose(forces, stored["forces"], rtol=0, atol=1e-8 * scale)
    hessian = field.hessian(stored["positions"][0])
    np.testing.assert_allclose(
        hessian, stored["hessian"], rtol=0, atol=1e-8 * np.abs(hessian).max()
    )


def test_the_stored_atomized_model_loads_for_ever():
    field = ForceField.load(STORED / "atomized_format2.safetensors")
    stored = np.load(STORED / "atomized_format2_predictions.npz")
    assert field.kind.name == "aff" and not field.conservative
    predicted = field.predict(stored["positions"], uncertainty=True)
    for name in ("energies", "forces", "energies_std", "forces_std"):
        scale = np.abs(stored[name]).max()
        np.testing.assert_allclose(
            getattr(predicted, name), stored[name], rtol=0, atol=1e-6 * scale, err_msg=name
        )
    assert field.calibration.n_geometries == 20 and field.knows_energies


def test_every_format_version_has_a_stored_file():
    for version in range(1, FORMAT_VERSION + 1):
        assert list(STORED.glob(f"*_format{version}.safetensors"))


def test_stored_record():
    record = ForceField.load(STORED / "periodic_format1.safetensors").record
    assert record.name == "water in a box" and record.train_indices == (4, 8) and record.seed == 3
    ethanol = ForceField.load(STORED / "ethanol_format1.safetensors")
    assert ethanol.record.train_indices == tuple(range(0, 2000, 200))
    assert len(ethanol.permutations) == 6 and ethanol.units.energy == "kcal/mol"
