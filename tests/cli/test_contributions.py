"""predict --contributions and its figure."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest

import kraft
from kraft.analysis.contributions import atom_contributions, energy_shares


@pytest.fixture
def geometries(few_frames, tmp_path):
    path = tmp_path / "some.xyz"
    kraft.write(few_frames.subset(np.arange(3)), path)
    return path


def test_columns_add_up_to_the_prediction(run, model_file, geometries, tmp_path, capsys):
    words = ["predict", model_file, geometries, "-o", "p.xyz", "--contributions"]
    assert run(*words, "--json", "p.json", "--units", "kcal/mol") == 0
    force_field = kraft.load(model_file)
    frames = ase.io.read(tmp_path / "p.xyz", ":")
    wanted = atom_contributions(force_field, np.array([frame.positions for frame in frames]))
    for index, frame in enumerate(frames):
        parts = frame.arrays["energy_contribution"]
        total = parts.sum() + frame.info["energy_offset"]
        assert total == pytest.approx(frame.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(parts, wanted.energies[index], atol=1e-9)
        np.testing.assert_allclose(
            frame.arrays["force_contribution"], wanted.strengths[index], atol=1e-9
        )
    figures = json.loads((tmp_path / "p.json").read_text())
    np.testing.assert_allclose(figures["energy_shares"], energy_shares(wanted.energies), atol=1e-6)
    factor = kraft.Units("kcal/mol").energy_factor
    np.testing.assert_allclose(
        figures["energy_contributions_mean"], wanted.energies.mean(axis=0) / factor, rtol=1e-6
    )
    shown = capsys.readouterr().out
    assert "energy shares" in shown and "of 9 atoms" in shown
    assert len(kraft.read(tmp_path / "p.xyz")) == 3  # still a file of energies and forces


def test_an_archive_has_the_contributions_to_forces(run, model_file, geometries, tmp_path):
    assert run("predict", model_file, geometries, "-o", "p.npz", "--contributions") == 0
    with np.load(tmp_path / "p.npz") as archive:
        np.testing.assert_allclose(archive["F_atoms"].sum(axis=1), archive["F"], atol=1e-6)
        total = archive["E_atoms"].sum(axis=1) + archive["E_offset"]
        np.testing.assert_allclose(total, archive["E"], atol=1e-6)


@pytest.mark.parametrize("n", [1, 3])
def test_figure(run, model_file, few_frames, tmp_path, capsys, n):
    kraft.write(few_frames.subset(np.arange(n)), tmp_path / "g.xyz")
    words = ["predict", model_file, "g.xyz", "-o", "p.xyz", "--plot", "atoms.png"]
    assert run(*words) == 0
    shown = capsys.readouterr().out
    assert "Wrote atoms.png" in shown
    assert ("energy shares" if n > 1 else "contributions") in shown
    assert (tmp_path / "atoms.png").stat().st_size > 5000
    assert "energy_contribution" in ase.io.read(tmp_path / "p.xyz").arrays
    assert run(*words, "--overwrite") == 0
    assert run(*words[:4], "q.xyz", "--plot", "atoms.png") == 1  # is there already
    assert run(*words[:4], "q.xyz", "--plot", "atoms.txt") == 1


def test_atomized_models_are_refused(run, data_file, tmp_path, capsys):
    words = ["train", data_file, "--n-train", 10, "--model", "aff", "-o", "a.safetensors"]
    assert run(*words) == 0
    words = ["predict", "a.safetensors", data_file, "-o", "p.xyz", "--contributions"]
    assert run(*words) == 1
    assert "not defined" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "p.xyz").exists()
