"""``kraft select``: what it writes, and what it says to input that does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest

import kraft
from kraft.data import Dataset
from kraft.data.geometry_format import Geometries, read_geometries
from kraft.data.geometry_writer import write_geometries


def test_chosen_frames_carry_their_number_in_the_pool(
    run, model_file: Path, data_file: Path, few_frames: Dataset, tmp_path: Path, capsys
) -> None:
    command = ["select", model_file, data_file, "--n", "5", "-o", "chosen.xyz"]
    assert run(*command, "--indices", "chosen.txt", "--json", "chosen.json") == 0
    said = capsys.readouterr().out
    assert "5 frames of ethanol.npz for model.safetensors" in said
    assert "20 of them left out" in said
    figures = json.loads((tmp_path / "chosen.json").read_text())
    indices = np.loadtxt(tmp_path / "chosen.txt", dtype=int)
    frames = ase.io.read(tmp_path / "chosen.xyz", ":")
    assert figures["indices"] == indices.tolist()
    assert [frame.info["pool_index"] for frame in frames] == indices.tolist()
    assert [frame.info["gain"] for frame in frames] == figures["gains"]
    assert figures["gains"][0] > figures["gains"][-1] > 0.0
    assert figures["removed"] == pytest.approx(sum(figures["gains"]))
    assert 0.0 < figures["removed"] < 1.0
    np.testing.assert_array_equal(
        np.array([frame.positions for frame in frames]), few_frames.positions[indices]
    )
    trained = kraft.load(model_file).record.train_indices
    assert not set(indices) & set(trained)


def test_the_same_seed_makes_the_same_choice(
    run, model_file: Path, data_file: Path, tmp_path: Path
) -> None:
    for name in ("one.xyz", "two.xyz"):
        assert run("select", model_file, data_file, "--n", "3", "-o", name, "--seed", "4") == 0
    assert (tmp_path / "one.xyz").read_bytes() == (tmp_path / "two.xyz").read_bytes()


def test_what_does_not_fit_is_said(
    run, model_file: Path, data_file: Path, few_frames: Dataset, tmp_path: Path, capsys
) -> None:
    def refused(*arguments: str | Path) -> str:
        assert run("select", model_file, *arguments) == 1
        return " ".join(capsys.readouterr().err.split())

    assert "Ask for at most 60" in refused(data_file, "--n", "61", "-o", "a.xyz")
    assert "at least 1, got 0" in refused(data_file, "--n", "0", "-o", "a.xyz")
    assert ".extxyz" in refused(data_file, "--n", "2", "-o", "a.npz")
    (tmp_path / "there.xyz").write_text("mine")
    assert "--overwrite" in refused(data_file, "--n", "2", "-o", "there.xyz")
    ase.io.write("water.xyz", ase.Atoms("OH2", np.eye(3)))
    assert "The model is for C2H6O" in refused("water.xyz", "--n", "1", "-o", "a.xyz")
    order = [8, 1, 2, 3, 4, 5, 6, 7, 0]
    atoms = ase.Atoms(few_frames.atomic_numbers, few_frames.positions[0])[order]
    ase.io.write("other.xyz", atoms)
    assert "another order" in refused("other.xyz", "--n", "1", "-o", "a.xyz")
    assert "Expected an amount of memory" in refused(
        data_file, "--n", "1", "-o", "a.xyz", "--max-memory", "much"
    )
    assert not (tmp_path / "a.xyz").exists()
    assert (tmp_path / "there.xyz").read_text() == "mine"


def test_a_cell_is_written_and_read_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    geometries = Geometries(
        np.array([8, 1, 1]), rng.normal(size=(2, 3, 3)), 9.0 * np.eye(3) + rng.normal(size=(3, 3))
    )
    write_geometries(geometries, tmp_path / "a.xyz", [{"pool_index": 4}, {"pool_index": 2}])
    again = read_geometries(tmp_path / "a.xyz")
    np.testing.assert_array_equal(again.positions, geometries.positions)
    np.testing.assert_array_equal(again.cell, geometries.cell)
    frames = ase.io.read(tmp_path / "a.xyz", ":")
    assert [frame.info["pool_index"] for frame in frames] == [4, 2]
    assert all(frame.pbc.all() for frame in frames)
