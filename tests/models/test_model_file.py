import json
import struct
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from molecules import MOLECULES, TWO_ROTORS, WATER
from safetensors import safe_open
from safetensors.numpy import save_file
from toy_models import toy_atomized_parameters, toy_parameters

from kraft import ForceField
from kraft.core.errors import ModelFileError
from kraft.data.units import Units
from kraft.models.model_file import FORMAT_VERSION, read_model, write_model
from kraft.models.parameters import Parameters, Record
from kraft.models.uncertainty.calibration import Calibration

CELL = np.array([[5.0, 0.2, 0.0], [0.0, 5.5, 0.1], [0.0, 0.0, 6.0]])


def _content(path):
    """Return arrays and the JSON metadata of a model file."""
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, json.loads(file.metadata()["kraft"])


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "model.safetensors"
    write_model(toy_parameters(WATER), path)
    return path


@pytest.fixture
def change(written):
    """Return a function that rewrites the model file with other content."""

    def rewrite(edit):
        arrays, content = _content(written)
        edit(arrays, content)
        save_file(arrays, written, metadata={"kraft": json.dumps(content)})
        return written

    return rewrite


@pytest.mark.parametrize("kernel", ["matern52", "matern72", "gaussian"])
@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_round_trip_predicts_the_same_bits(molecule, kernel, tmp_path):
    field = ForceField(toy_parameters(molecule, kernel=kernel, energies=True, weighted=True))
    field.save(tmp_path / "m.safetensors")
    again = ForceField.load(tmp_path / "m.safetensors")
    positions = molecule.frames(3)
    for got, expected in zip(again.predict(positions), field.predict(positions), strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(again.hessian(positions[0]), field.hessian(positions[0]))


def _same(left: Parameters, right: Parameters) -> None:
    assert type(left) is type(right)
    for item in fields(left):
        one, other = getattr(left, item.name), getattr(right, item.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other, err_msg=item.name)
        else:
            assert one == other, item.name


CALIBRATION = Calibration(
    forces=1.25,
    energies=None,
    method="exact",
    n_geometries=33,
    forces_coverage=0.875,
    forces_coverage_after=0.953125,
    source="e.npz",
    source_fingerprint="abc",
    indices=(3, 1, 2),
)


@pytest.mark.parametrize("cell", [None, CELL], ids=["free", "periodic"])
@pytest.mark.parametrize("energies", [False, True])
@pytest.mark.parametrize("calibration", [None, CALIBRATION], ids=["plain", "calibrated"])
def test_everything_comes_back(energies, cell, calibration, tmp_path):
    parameters = toy_parameters(TWO_ROTORS, energies=energies, cell=cell)
    parameters = replace(parameters, calibration=calibration)
    parameters = replace(parameters, units=Units("kcal/mol", "bohr"))
    write_model(parameters, tmp_path / "m.safetensors")
    _same(read_model(tmp_path / "m.safetensors"), parameters)


@pytest.mark.parametrize("energies", [False, True])
def test_every_part_of_an_atomized_model_comes_back(energies, tmp_path):
    parameters = toy_atomized_parameters(energies=energies)
    write_model(parameters, tmp_path / "m.safetensors")
    _same(read_model(tmp_path / "m.safetensors"), parameters)


def test_version_1_knew_one_kind_and_no_calibration(change):
    def older(arrays, content):
        content["format_version"] = 1
        del content["kind"], content["calibration"]

    assert read_model(change(older)).calibration is None


def test_what_a_later_kraft_adds_to_the_calibration_is_passed_over(written, change):
    write_model(replace(toy_parameters(WATER), calibration=CALIBRATION), written)
    path = change(lambda _, content: content["calibration"].update(color="red"))
    assert read_model(path).calibration == CALIBRATION


def test_a_model_without_training_geometries(tmp_path):
    parameters = replace(toy_parameters(WATER), training_positions=None, coefficients=None)
    write_model(parameters, tmp_path / "m.safetensors")
    arrays, _ = _content(tmp_path / "m.safetensors")
    assert "training_positions" not in arrays and "training_descriptors" in arrays
    _same(read_model(tmp_path / "m.safetensors"), parameters)


floats = st.floats(allow_nan=False, allow_infinity=False)
records = st.builds(
    Record,
    name=st.text(),
    theory=st.text(),
    source=st.text(),
    source_fingerprint=st.text("0123456789abcdef", max_size=64),
    train_indices=st.lists(st.integers(0, 10**9)).map(tuple),
    valid_indices=st.lists(st.integers(0, 10**9)).map(tuple),
    seed=st.none() | st.integers(0, 2**63),
    kraft_version=st.text(),
    solver=st.text(),
    relative_residual=st.none() | floats,
    jitter=floats,
    energy_offset_scatter=st.none() | floats,
    valid_force_mae=st.none() | floats,
    choice=st.text(),
    converged=st.booleans(),
    status=st.text(),
    iterations=st.integers(0, 10**9),
    preconditioner=st.text(),
    rank=st.integers(0, 10**9),
    tolerance=st.none() | floats,
)


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    record=records,
    length_scale=floats,
    regularization=floats,
    offset=floats,
    units=st.builds(
        Units,
        energy=st.sampled_from(["eV", "kcal/mol", "hartree"]),
        length=st.sampled_from(["Å", "bohr"]),
    ),
)
def test_any_record_and_number_comes_back(
    record, length_scale, regularization, offset, units, tmp_path
):
    parameters = replace(
        toy_parameters(WATER, n_train=1),
        record=record,
        length_scale=length_scale,
        regularization=regularization,
        energy_offset=offset,
        units=units,
    )
    path = tmp_path / "m.safetensors"
    write_model(parameters, path)
    _same(read_model(path), parameters)


def test_what_a_later_kraft_adds_to_the_record_is_passed_over(change):
    path = change(lambda _, content: content["record"].update(color="red"))
    assert asdict(read_model(path).record) == asdict(Record())


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model file .*nothing\.safetensors"):
        read_model(tmp_path / "nothing.safetensors")
    with pytest.raises(FileNotFoundError):
        read_model(tmp_path)


def test_cut_short_anywhere(written):
    content = written.read_bytes()
    for length in (0, 1, 7, 8, 50, len(content) // 2, len(content) - 1):
        written.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"no readable model file.*kraft train"):
            read_model(written)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_of_ours(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError):
        read_model(path)


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_changed_header_loads_or_is_an_error_of_ours(tmp_path, data):
    path = tmp_path / "m.safetensors"
    write_model(toy_parameters(WATER, n_train=1), path)
    content = bytearray(path.read_bytes())
    (header,) = struct.unpack("<Q", content[:8])
    place = data.draw(st.integers(0, 7 + header))
    content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        assert isinstance(read_model(path), Parameters)
    except ModelFileError as error:
        assert "m.safetensors" in str(error)


def test_a_text_file(tmp_path):
    (tmp_path / "m.safetensors").write_text("This is not a model. " * 20)
    with pytest.raises(ModelFileError, match="kraft train"):
        read_model(tmp_path / "m.safetensors")


def test_an_sgdml_archive_is_recognized(tmp_path):
    np.savez(tmp_path / "m.npz", type="m")
    with pytest.raises(ModelFileError, match=r"sgdml archive.*kraft convert"):
        read_model(tmp_path / "m.npz")


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
def test_a_safetensors_file_of_another_program(tmp_path, metadata):
    save_file({"weight": np.ones(3)}, tmp_path / "m.safetensors", metadata=metadata)
    with pytest.raises(ModelFileError, match="not one that kraft wrote"):
        read_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", '{"format_version": "1"}', "{}"])
def test_metadata_that_is_no_object(tmp_path, text):
    save_file({"weight": np.ones(3)}, tmp_path / "m.safetensors", metadata={"kraft": text})
    with pytest.raises(ModelFileError):
        read_model(tmp_path / "m.safetensors")


def test_a_later_version_asks_for_a_later_kraft(change):
    def later(arrays, content):
        content["format_version"] = FORMAT_VERSION + 1
        content["record"]["kraft_version"] = "9.1"

    with pytest.raises(ModelFileError, match=r"format version 4.*up to 3.*kraft 9\.1"):
        read_model(change(later))


@pytest.mark.parametrize("version", [None, "1", 0, -3])
def test_a_version_that_is_none(change, version):
    with pytest.raises(ModelFileError, match="no format version"):
        read_model(change(lambda _, content: content.update(format_version=version)))


@pytest.mark.parametrize(
    "key", ["kind", "kernel", "length_scale", "regularization", "energy_offset", "units", "record"]
)
def test_a_missing_entry(change, key):
    with pytest.raises(ModelFileError, match="damaged"):
        read_model(change(lambda _, content: content.pop(key)))


@pytest.mark.parametrize(
    "key",
    ["atomic_numbers", "permutations", "feature_weights", "training_positions", "coefficients"],
)
def test_a_missing_array(change, key):
    with pytest.raises(ModelFileError, match="damaged"):
        read_model(change(lambda arrays, _: arrays.pop(key)))


@pytest.mark.parametrize(
    "key, value",
    [
        ("kind", "force field"),
        ("kind", 7),
        ("kind", ["sgdml"]),
        ("kind", "aff"),
        ("calibration", 3),
        ("calibration", {"forces": 1.0}),
        ("calibration", asdict(CALIBRATION) | {"forces": -1.0}),
        ("calibration", asdict(CALIBRATION) | {"forces": "wide"}),
        ("calibration", asdict(CALIBRATION) | {"method": "guess"}),
        ("kernel", "rbf"),
        ("kernel", 3),
        ("length_scale", "long"),
        ("length_scale", None),
        ("units", {"energy": "bananas", "length": "Å"}),
        ("units", 5),
        ("record", "text"),
        ("record", None),
        ("record", {"train_indices": None}),
    ],
)
def test_a_wrong_entry(change, key, value):
    with pytest.raises(ModelFileError, match="damaged"):
        read_model(change(lambda _, content: content.update({key: value})))


@pytest.mark.parametrize(
    "key, value",
    [
        ("permutations", np.array([[0, 1, 2], [0, 2, 7]])),
        ("permutations", np.array([0, 1, 2])),
        ("permutations", np.array([[0, 1, 1]])),
        ("feature_weights", np.ones(2)),
        ("coefficients", np.full((4, 3, 3), np.nan)),
        ("training_positions", np.zeros((4, 2, 3))),
        ("training_positions", np.zeros((4, 3))),
        ("atomic_numbers", np.array([8, 1])),
        ("cell", np.eye(2)),
        ("energy_coefficients", np.ones(5)),
        ("energy_coefficients", np.full(4, np.inf)),
    ],
)
def test_a_wrong_array(change, key, value):
    with pytest.raises(ModelFileError, match="damaged"):
        read_model(change(lambda arrays, _: arrays.update({key: value})))


def test_a_full_disk_leaves_the_old_file(written, monkeypatch):
    before = written.read_bytes()
    write = Path.write_bytes

    def fill(path, content):
        write(path, content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match="No space"):
        write_model(toy_parameters(WATER, seed=1), written)
    monkeypatch.undo()
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_loading_for_another_precision(written):
    single = ForceField.load(written, dtype="float32")
    assert single.dtype == "float32"
    double = ForceField.load(written)
    positions = WATER.frames(2)
    np.testing.assert_allclose(
        single.predict(positions).forces, double.predict(positions).forces, atol=1e-4
    )


def test_a_file_loads_on_any_device(written, device):
    assert ForceField.load(written, device=device).device == device
