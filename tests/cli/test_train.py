from __future__ import annotations

import json
from typing import get_args, get_type_hints

import numpy as np
import pytest

import kraft
from kraft.analysis.errors import evaluate
from kraft.cli.training_options import ModelOptions
from kraft.descriptors import FEATURE_FUNCTIONS

FIXED = ["--kernel", "matern52", "--length-scale", "20", "--regularization", "1e-10"]


def test_train_writes_model_and_figures_in_the_units_of_the_data(run, data_file, tmp_path, capsys):
    code = run(
        "train", data_file, "--n-train", 20, "--n-valid", 10, "--n-test", 30, *FIXED,
        "-o", "m.safetensors", "--json", "m.json",
    )  # fmt: skip
    assert code == 0
    figures = json.loads((tmp_path / "m.json").read_text())
    force_field = kraft.load(tmp_path / "m.safetensors")
    assert figures["units"] == {"energy": "kcal/mol", "force": "kcal/mol/Å"}
    assert (figures["n_train"], figures["n_valid"], figures["n_test"]) == (20, 10, 30)
    assert figures["n_symmetries"] == 6
    assert figures["length_scale"] == 20.0
    assert figures["regularization"] == 1e-10
    assert figures["model"] == "m.safetensors"
    assert figures["timings"]["total"] > 0.0
    parts = kraft.split(kraft.read(data_file), n_train=20, n_valid=10, n_test=30)
    expected = evaluate(force_field, parts.test).in_units(kraft.Units("kcal/mol"))
    for name in ("energy_mae", "energy_rmse", "force_mae", "force_rmse"):
        assert figures[name] == pytest.approx(getattr(expected, name), rel=1e-9)
    shown = capsys.readouterr()
    assert "kcal/mol/Å" in shown.out
    assert "Wrote m.safetensors" in shown.out
    assert "kraft test m.safetensors" in shown.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.json", "m.safetensors"]


def test_units_flag_changes_what_is_shown_only(run, data_file, tmp_path):
    common = ["train", data_file, "--n-train", 20, "--n-test", 20, *FIXED]
    assert run(*common, "-o", "a.safetensors", "--json", "a.json") == 0
    assert run(*common, "-o", "b.safetensors", "--json", "b.json", "--units", "meV") == 0
    a, b = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert b["units"]["force"] == "meV/Å"
    factor = kraft.Units("kcal/mol").energy_factor * 1000.0
    assert b["force_mae"] == pytest.approx(a["force_mae"] * factor, rel=1e-9)
    np.testing.assert_array_equal(
        kraft.load(tmp_path / "a.safetensors").parameters.feature_coefficients,
        kraft.load(tmp_path / "b.safetensors").parameters.feature_coefficients,
    )


def test_feature_functions(run, data_file, tmp_path, capsys):
    chosen = ["train", data_file, "--n-train", 20, "--n-test", 20, *FIXED]
    assert run(*chosen, "--feature-function", "log", "-o", "log.safetensors") == 0
    assert "36 pairs of atoms, -ln r" in capsys.readouterr().out
    assert kraft.load(tmp_path / "log.safetensors").parameters.feature_function == "log"
    assert run("info", "log.safetensors", "--json", "info.json") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "features 36 pairs of atoms, -ln r" in shown and "length scale 20 " in shown
    assert json.loads((tmp_path / "info.json").read_text())["n_features"] == 36
    assert run(*chosen, "--feature-function", "log", "--model", "aff") == 1
    assert "inverse distances of all pairs" in " ".join(capsys.readouterr().err.split())


def test_every_feature_function_has_its_flag():
    flag = get_type_hints(ModelOptions, include_extras=True)["feature_function"]
    assert set(get_args(get_args(flag)[0])) == set(FEATURE_FUNCTIONS)


def test_default_name_and_all_other_frames_as_test_set(run, data_file, tmp_path):
    assert run("train", data_file, "--n-train", 20, *FIXED, "--json", "out.json") == 0
    assert (tmp_path / "ethanol.safetensors").exists()
    assert json.loads((tmp_path / "out.json").read_text())["n_test"] == 60


def test_an_existing_model_is_replaced_only_when_told(run, data_file, tmp_path, capsys):
    target = tmp_path / "m.safetensors"
    target.write_text("precious")
    common = ["train", data_file, "--n-train", 10, "--n-test", 0, *FIXED, "-o", target]
    assert run(*common) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert target.read_text() == "precious"
    assert run(*common, "--overwrite") == 0
    assert kraft.load(target).parameters.n_train == 10


def test_test_file_leaves_training_frames_out(run, data_file, tmp_path, capsys):
    code = run(
        "train", data_file, "--n-train", 20, *FIXED, "--test", data_file, "--json", "out.json"
    )
    assert code == 0
    assert json.loads((tmp_path / "out.json").read_text())["n_test"] == 60
    assert "20 frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"), [(["--permutations", "none"], 1), (["--max-permutations", "3"], 3)]
)
def test_symmetry_options(run, data_file, tmp_path, given, expected):
    assert run("train", data_file, "--n-train", 15, "--n-test", 0, *FIXED, *given) == 0
    assert kraft.load(tmp_path / "ethanol.safetensors").parameters.n_permutations == expected


def test_permutations_from_a_file(run, data_file, tmp_path):
    (tmp_path / "p.txt").write_text("0 1 2 3 5 4 6 7 8\n")
    code = run(
        "train", data_file, "--n-train", 15, "--n-test", 0, *FIXED, "--permutations", "p.txt"
    )
    assert code == 0
    assert kraft.load(tmp_path / "ethanol.safetensors").parameters.n_permutations == 2


def test_automatic_choice_says_why(run, data_file, capsys):
    assert run("train", data_file, "--n-train", 10, "--kernel", "matern52", "--n-test", 10) == 0
    assert "leave-one-out" in capsys.readouterr().out


def test_two_atoms(run, tmp_path):
    distance = np.linspace(0.6, 1.0, 30)
    positions = np.zeros((30, 2, 3))
    positions[:, 1, 2] = distance
    forces = np.zeros((30, 2, 3))
    forces[:, 1, 2] = -30.0 * (distance - 0.74)
    forces[:, 0] = -forces[:, 1]
    energies = 15.0 * (distance - 0.74) ** 2
    kraft.write(kraft.Dataset([1, 1], positions, forces, energies), tmp_path / "h2.npz")
    assert run("train", "h2.npz", "--n-train", 15, *FIXED, "--json", "out.json") == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["n_symmetries"] == 2
    assert figures["force_mae"] < 0.02 * figures["force_spread"]
