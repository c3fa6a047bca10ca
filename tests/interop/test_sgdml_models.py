"""Models of sgdml in kraft and models of kraft in sgdml, against stored and live predictions."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import kraft
from kraft.core.errors import ModelFileError, OptionError, UnitError
from kraft.data import Dataset, Units
from kraft.interfaces.sgdml import import_sgdml_model, read_sgdml_model, write_sgdml_model
from kraft.models.force_field import ForceField

DATA = Path(__file__).parent / "data"
PLAIN, WITH_ENERGIES = DATA / "ethanol_sgdml103.npz", DATA / "ethanol_sgdml103_energies.npz"
KCAL = Units("kcal/mol")
PICKLED = ("f_err", "e_err", "md5_test")


def in_kcal(model: ForceField, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    energies, forces = model.predict(positions)
    return energies / KCAL.energy_factor, forces / KCAL.force_factor


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files if key not in PICKLED}


def written(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


def assert_same(got: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Compare relative to the largest expected value."""
    assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return arrays_of(DATA / "ethanol_sgdml103_reference.npz")


@pytest.fixture(scope="module")
def trained(ethanol: Dataset) -> ForceField:
    return kraft.train(
        ethanol.subset(np.arange(0, 1800, 180)),
        kernel="matern52",
        length_scale=12.0,
        regularization=1e-10,
    )[0]


class TestImport:
    def test_forces_only(self, reference: dict[str, np.ndarray]) -> None:
        model, notices = import_sgdml_model(PLAIN)
        energies, forces = in_kcal(model, reference["positions"])
        assert_same(forces, reference["forces"], 1e-9)
        np.testing.assert_allclose(energies, reference["energies"], rtol=0, atol=1e-6)
        assert notices == ()
        assert model.units == KCAL
        assert model.record.train_indices == tuple(range(0, 1800, 60))
        assert model.parameters.regularization == 1e-10
        assert "1.0.3" in model.record.choice

    def test_energy_constraints(self, reference: dict[str, np.ndarray]) -> None:
        energies, forces = in_kcal(read_sgdml_model(WITH_ENERGIES), reference["positions"])
        assert_same(forces, reference["forces_constrained"], 1e-9)
        np.testing.assert_allclose(energies, reference["energies_constrained"], rtol=0, atol=1e-5)

    @pytest.mark.parametrize("name", ["benzene", "water_dimer"])
    def test_published_models(self, name: str, reference_data: Path) -> None:
        stored = arrays_of(DATA / "reference_models.npz")
        path = reference_data / "models" / str(stored[f"{name}_file"])
        if not path.is_file():
            pytest.skip(f"no {path.name} among the reference data")
        model, notices = import_sgdml_model(path)
        energies, forces = in_kcal(model, stored[f"{name}_positions"])
        assert_same(forces, stored[f"{name}_forces"], 1e-6)
        np.testing.assert_allclose(energies, stored[f"{name}_energies"], rtol=0, atol=5e-5)
        assert any("kcal/mol and Å" in notice for notice in notices) == (name == "benzene")
        assert "not recorded" in model.record.choice

    def test_own_model_file_keeps_the_predictions(
        self, tmp_path: Path, reference: dict[str, np.ndarray]
    ) -> None:
        model = read_sgdml_model(WITH_ENERGIES)
        model.save(tmp_path / "model.safetensors")
        again = ForceField.load(tmp_path / "model.safetensors").predict(reference["positions"])
        expected = model.predict(reference["positions"])
        assert_same(again.forces, expected.forces, 1e-10)
        np.testing.assert_allclose(again.energies, expected.energies, rtol=0, atol=1e-7)

    @pytest.mark.parametrize("edit", ["order", "repeated", "untransposed", "bytes", "no_std"])
    def test_variants_of_the_format(
        self, edit: str, tmp_path: Path, reference: dict[str, np.ndarray]
    ) -> None:
        arrays = arrays_of(PLAIN)
        if edit in ("order", "repeated"):
            rows = arrays["perms"]
            arrays["perms"] = rows[[3, 0, 5, 1, 2, 4]] if edit == "order" else np.tile(rows, (2, 1))
            del arrays["tril_perms_lin"]
        if edit == "repeated":
            arrays["R_d_desc_alpha"] = arrays["R_d_desc_alpha"] / 2
        if edit == "untransposed":
            arrays["R_desc"] = arrays["R_desc"].T
        if edit == "bytes":
            arrays |= {"type": np.array(b"m"), "e_unit": np.array(b"kcal/mol")}
        if edit == "no_std":
            arrays["R_d_desc_alpha"] = arrays["R_d_desc_alpha"] * arrays.pop("std")
        model = read_sgdml_model(written(tmp_path / "model.npz", arrays))
        energies, forces = in_kcal(model, reference["positions"])
        assert_same(forces, reference["forces"], 1e-9)
        np.testing.assert_allclose(energies, reference["energies"], rtol=0, atol=1e-6)

    def test_other_units_are_converted(
        self, tmp_path: Path, reference: dict[str, np.ndarray]
    ) -> None:
        """The same numbers taken for hartree and bohr: everything scales, geometries too."""
        arrays = arrays_of(PLAIN) | {"e_unit": np.array("Ha"), "r_unit": np.array("bohr")}
        model = read_sgdml_model(written(tmp_path / "model.npz", arrays))
        units = Units("hartree", "bohr")
        energies, forces = model.predict(reference["positions"] * units.length_factor)
        assert_same(forces / units.force_factor, reference["forces"], 1e-9)
        assert_same(energies / units.energy_factor, reference["energies"], 1e-9)

    def test_given_units_overrule(self) -> None:
        assert import_sgdml_model(PLAIN, energy_unit="eV").force_field.units == Units("eV")
        with pytest.raises(UnitError, match="furlong"):
            import_sgdml_model(PLAIN, length_unit="furlong")

    def test_missing_units_and_unconverged_solver_are_told(self, tmp_path: Path) -> None:
        arrays = arrays_of(PLAIN) | {"use_E": np.array(False)}
        del arrays["e_unit"], arrays["r_unit"]
        arrays |= {"solver_tol": np.array(1e-4), "solver_resid": np.array(0.5)}
        arrays["norm_y_train"] = np.array(10.0)
        notices = " ".join(import_sgdml_model(written(tmp_path / "m.npz", arrays)).notices)
        for words in ("kcal/mol and Å", "did not converge", "up to a constant"):
            assert words in notices

    def test_lattice_vectors_are_columns(self, tmp_path: Path) -> None:
        lattice = np.array([[20.0, 1.0, 0.5], [0.0, 21.0, 0.0], [0.0, 0.0, 22.0]])
        arrays = arrays_of(PLAIN) | {"lattice": lattice}
        model = read_sgdml_model(written(tmp_path / "model.npz", arrays))
        np.testing.assert_array_equal(model.parameters.cell, lattice.T)
        write_sgdml_model(model, tmp_path / "again.npz")
        np.testing.assert_array_equal(arrays_of(tmp_path / "again.npz")["lattice"], lattice)


class TestBadFiles:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"R_d_desc_alpha": np.zeros((30, 35))}, "R_d_desc_alpha"),
            ({"R_desc": np.zeros((36, 29))}, "R_desc"),
            ({"c": np.array(np.nan)}, "not finite"),
            ({"sig": np.array(-1)}, "positive"),
            ({"sig": np.array("ten")}, "real numbers"),
            ({"std": np.array([1.0, 2.0])}, "one number"),
            ({"perms": np.array([[0, 0, 1, 2, 3, 4, 5, 6, 7]])}, "once in each row"),
            ({"perms": np.array([[1, 2, 0, 3, 4, 5, 6, 7, 8]])}, "elements"),
            ({"perms": np.arange(9)[None, [0, 1, 2, 4, 5, 3, 6, 7, 8]]}, "group"),
            ({"alphas_E": np.zeros(7)}, "energy_coefficients"),
            ({"z": np.array([6])}, "at least two"),
            ({"tril_perms_lin": np.arange(216)}, "contradicts"),
            ({"type": np.array("t")}, "training task"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_damage_is_named(
        self, change: dict[str, np.ndarray], message: str, tmp_path: Path
    ) -> None:
        arrays = arrays_of(PLAIN)
        if "perms" in change:
            del arrays["tril_perms_lin"]
        with pytest.raises(ModelFileError, match=message):
            read_sgdml_model(written(tmp_path / "model.npz", arrays | change))

    def test_unequally_repeated_permutations(self, tmp_path: Path) -> None:
        arrays = arrays_of(PLAIN)
        arrays["perms"] = np.concatenate([arrays["perms"], arrays["perms"][:1]])
        with pytest.raises(ModelFileError, match="no group"):
            read_sgdml_model(written(tmp_path / "model.npz", arrays))

    def test_missing_key(self, tmp_path: Path) -> None:
        arrays = arrays_of(PLAIN)
        del arrays["R_desc"]
        with pytest.raises(ModelFileError, match=r"no 'R_desc'.*keys there are"):
            read_sgdml_model(written(tmp_path / "model.npz", arrays))

    def test_pickled_member_is_never_opened(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(tmp_path / "unpickled"),)

        arrays = arrays_of(PLAIN)
        for key, message in (("R_desc", "pickled"), ("f_err", None)):
            path = written(tmp_path / "model.npz", arrays | {key: np.array(Bomb(), dtype=object)})
            if message is None:
                read_sgdml_model(path)
            else:
                with pytest.raises(ModelFileError, match=message):
                    read_sgdml_model(path)
        assert not (tmp_path / "unpickled").exists()

    def test_no_archive_truncated_and_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        path.write_text("not an archive")
        with pytest.raises(ModelFileError, match="text file"):
            read_sgdml_model(path)
        path.write_bytes(PLAIN.read_bytes()[:-1000])
        with pytest.raises(ModelFileError, match="truncated"):
            read_sgdml_model(path)
        with pytest.raises(FileNotFoundError):
            read_sgdml_model(tmp_path / "nothing.npz")

    def test_flipped_bits(self, tmp_path: Path) -> None:
        content = bytearray(PLAIN.read_bytes())
        with zipfile.ZipFile(PLAIN) as archive:
            start = archive.getinfo("R_desc.npy").header_offset
        for position in range(start + 200, start + 260):
            content[position] ^= 0xFF
        path = tmp_path / "model.npz"
        path.write_bytes(bytes(content))
        with pytest.raises(ModelFileError, match="R_desc"):
            read_sgdml_model(path)

    def test_a_dataset_is_no_model(self) -> None:
        with pytest.raises(ModelFileError, match="dataset"):
            read_sgdml_model(Path(kraft.__file__).parent / "datasets" / "ethanol_gfn2.npz")


class TestExport:
    @pytest.mark.parametrize("path", [PLAIN, WITH_ENERGIES], ids=["forces", "energies"])
    def test_what_is_read_is_written(self, path: Path, tmp_path: Path) -> None:
        """Same arrays as sgdml's own file, its label scale multiplied in."""
        original = arrays_of(path)
        write_sgdml_model(read_sgdml_model(path), tmp_path / "model.npz")
        copy = arrays_of(tmp_path / "model.npz")
        order = np.lexsort(original["perms"].T[::-1])
        np.testing.assert_array_equal(copy["perms"], original["perms"][order])
        for key in ("R_desc", "c", "sig", "lam"):
            np.testing.assert_allclose(copy[key], original[key], rtol=1e-14)
        for key in ("R_d_desc_alpha", *(("alphas_E",) if "alphas_E" in original else ())):
            np.testing.assert_allclose(copy[key], original[key] * original["std"], rtol=1e-13)
        for key in ("z", "idxs_train", "e_unit", "r_unit", "type", "use_E", "md5_train"):
            np.testing.assert_array_equal(copy[key], original[key])
        assert copy["sig"].dtype.kind == "i"
        assert copy["R_desc"].shape == original["R_desc"].shape

    def test_round_trip_in_other_units(
        self, trained: ForceField, tmp_path: Path, reference: dict[str, np.ndarray]
    ) -> None:
        notices = write_sgdml_model(trained, tmp_path / "model.npz", Units("hartree", "bohr"))
        again = read_sgdml_model(tmp_path / "model.npz")
        expected = trained.predict(reference["positions"])
        got = again.predict(reference["positions"])
        assert_same(got.forces, expected.forces, 1e-9)
        np.testing.assert_allclose(got.energies, expected.energies, rtol=0, atol=1e-7)
        assert np.isclose(again.parameters.regularization, 1e-10)
        assert "E_to_eV" in " ".join(notices)

    def test_notices(self, trained: ForceField, tmp_path: Path) -> None:
        assert write_sgdml_model(trained, tmp_path / "model.npz") == ()
        fractional = ForceField(replace(trained.parameters, length_scale=12.5))
        assert "torch path" in write_sgdml_model(fractional, tmp_path / "model.npz")[0]
        assert arrays_of(tmp_path / "model.npz")["sig"] == 12.5
        constrained = read_sgdml_model(WITH_ENERGIES)
        assert "torch path" in write_sgdml_model(constrained, tmp_path / "model.npz")[0]

    def test_equal_weights_become_a_length_scale(
        self, trained: ForceField, tmp_path: Path, reference: dict[str, np.ndarray]
    ) -> None:
        parameters = trained.parameters
        weighted = ForceField(
            replace(
                parameters,
                feature_weights=np.full(36, 2.0),
                length_scale=2.0 * parameters.length_scale,
            )
        )
        write_sgdml_model(weighted, tmp_path / "model.npz")
        got = read_sgdml_model(tmp_path / "model.npz").predict(reference["positions"])
        assert_same(got.forces, trained.predict(reference["positions"]).forces, 1e-9)

    def test_reduced_descriptors_and_other_functions_are_refused(self, trained, tmp_path):
        parameters, kept = trained.parameters, np.arange(36)[:3]
        reduced = replace(
            parameters,
            features=kept,
            permutations=np.arange(9)[None],
            feature_weights=np.ones(3),
            training_descriptors=parameters.training_descriptors[:, kept],
            feature_coefficients=parameters.feature_coefficients[:, kept],
        )
        logarithmic = replace(parameters, feature_function="log")
        for changed, message in ((reduced, "reduced to 3"), (logarithmic, "function.*is log")):
            with pytest.raises(OptionError, match=message):
                write_sgdml_model(ForceField(changed), tmp_path / "model.npz")

    @pytest.mark.parametrize("change", ["kernel", "feature_weights", "feature_mixing"])
    def test_what_sgdml_cannot_represent_is_refused(
        self, change: str, trained: ForceField, tmp_path: Path
    ) -> None:
        others = {
            "kernel": "gaussian",
            "feature_weights": np.arange(36) + 1.0,
            "feature_mixing": np.eye(36) + 0.1,
        }
        edited = replace(trained.parameters, **{change: others[change]})
        with pytest.raises(OptionError, match="sgdml"):
            write_sgdml_model(ForceField(edited), tmp_path / "model.npz")
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_pickled(self, trained: ForceField, tmp_path: Path) -> None:
        write_sgdml_model(trained, tmp_path / "model.npz")
        with np.load(tmp_path / "model.npz", allow_pickle=False) as archive:
            assert all(archive[key].dtype != object for key in archive.files)

    @pytest.mark.parametrize("name", ["trained", "fractional", "imported", "energies"])
    def test_sgdml_predicts_the_same(
        self, name: str, trained: ForceField, tmp_path: Path, reference: dict[str, np.ndarray]
    ) -> None:
        """Needs an environment with sgdml 1.0.3; the file is opened without pickles there too."""
        python = os.environ.get("KRAFT_SGDML_PYTHON")
        if not python:
            pytest.skip("KRAFT_SGDML_PYTHON names no interpreter with sgdml 1.0.3")
        models = {
            "trained": trained,
            "fractional": ForceField(replace(trained.parameters, length_scale=12.5)),
            "imported": read_sgdml_model(PLAIN),
            "energies": read_sgdml_model(WITH_ENERGIES),
        }
        model = models[name]
        write_sgdml_model(model, tmp_path / "model.npz")
        np.save(tmp_path / "positions.npy", reference["positions"])
        subprocess.run(
            [python, "-c", RUN_SGDML, str(tmp_path), json.dumps(name in ("trained", "imported"))],
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": ""},
        )
        energies, forces = in_kcal(model, reference["positions"])
        with np.load(tmp_path / "predictions.npz") as archive:
            assert_same(forces, archive["forces"], 1e-9)
            np.testing.assert_allclose(energies, archive["energies"], rtol=1e-9)
            if "torch_forces" in archive.files:
                assert_same(forces, archive["torch_forces"], 1e-5)


RUN_SGDML = """
import json, sys
import numpy as np
from sgdml.predict import GDMLPredict
folder, with_torch = sys.argv[1], json.loads(sys.argv[2])
model = np.load(f"{folder}/model.npz", allow_pickle=False)
positions = np.load(f"{folder}/positions.npy")
flat = positions.reshape(len(positions), -1)
energies, forces = GDMLPredict(model, max_processes=1).predict(flat)
answer = {"energies": energies, "forces": forces.reshape(positions.shape)}
if with_torch:
    predictor = GDMLPredict(model, max_processes=1, use_torch=True)
    answer["torch_forces"] = predictor.predict(flat)[1].reshape(positions.shape)
np.savez(f"{folder}/predictions.npz", **answer)
"""


class TestSameMathematics:
    def test_training_on_the_same_frames_gives_the_same_model(
        self, ethanol: Dataset, reference: dict[str, np.ndarray]
    ) -> None:
        """Same frames, length scale, regularization and permutations as sgdml's model."""
        theirs = read_sgdml_model(PLAIN)
        ours, _ = kraft.train(
            ethanol.subset(np.array(theirs.record.train_indices)),
            kernel="matern52",
            length_scale=theirs.parameters.length_scale,
            regularization=theirs.parameters.regularization,
            permutations=theirs.permutations,
        )
        energies, forces = in_kcal(ours, reference["positions"])
        assert_same(forces, reference["forces"], 1e-7)
        np.testing.assert_allclose(energies, reference["energies"], rtol=0, atol=1e-4)

    def test_the_symmetries_found_are_the_same(self, ethanol: Dataset) -> None:
        theirs = read_sgdml_model(PLAIN)
        found = kraft.find_permutations(
            ethanol.positions[list(theirs.record.train_indices)], ethanol.atomic_numbers
        )
        np.testing.assert_array_equal(found.permutations, theirs.permutations)
