"""``kraft info`` of a model: its metric told, drawn and compared with importance."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from molecules import WATER
from toy_models import toy_atomized_parameters, toy_parameters

import kraft
from kraft.analysis.importance import feature_importance
from kraft.analysis.metric import metric_map
from kraft.analysis.unseen import unseen_frames
from kraft.cli.metric_display import metric_map_facts
from kraft.models import ForceField


def facts_of(parameters):
    return metric_map_facts(metric_map(ForceField(parameters)))


@pytest.fixture(scope="module")
def mixed_file(tmp_path_factory, model_file):
    """A model whose features have weights and mix; it means nothing."""
    parameters = kraft.load(model_file).parameters
    labels = metric_map(ForceField(parameters)).labels
    path = tmp_path_factory.mktemp("metric") / "mixed.safetensors"
    weights = 1.0 + labels / 10.0
    mixing = np.eye(36) + 0.01
    ForceField(replace(parameters, feature_weights=weights, feature_mixing=mixing)).save(path)
    return path


def test_weights_are_named_by_their_atoms():
    assert facts_of(toy_parameters(WATER)) == [("feature weights", "equal")]
    unequal = toy_parameters(WATER, weighted=True)  # 1 for O-H, 0 for H-H
    assert facts_of(unequal) == [("largest weights", "O0-H1 1"), ("smallest weights", "H1-H2 0")]


@pytest.mark.parametrize(
    "bonds, to_hydrogens, told",
    [
        # columns (1, 0.1, -0.3), (0.1, 1, -0.3) and (-0.3, -0.3, 1)
        (0.1, -0.3, "O0-H1 with H1-H2 -0.55, O0-H1 with O0-H2 0.26"),
        (0.0, 0.25, "O0-H1 with H1-H2 0.46, O0-H1 with O0-H2 0.059"),
        (0.0, 0.0, "none"),
    ],
)
def test_the_strongest_couplings_are_told(bonds, to_hydrogens, told):
    mixing = np.eye(3)
    mixing[0, 1] = mixing[1, 0] = bonds
    mixing[:2, 2] = mixing[2, :2] = to_hydrogens
    facts = facts_of(replace(toy_parameters(WATER), feature_mixing=mixing))
    assert facts[-1] == ("strongest couplings", told)


def test_a_model_is_compared_with_data_and_drawn(mixed_file, data_file, run, capsys, tmp_path):
    flags = ["--n-frames", "4", "--plot", "m.png", "--json", "i", "--units", "meV"]
    assert run("info", mixed_file, data_file, *flags) == 0
    told = capsys.readouterr()
    assert "largest effective weights" in told.out and "rank correlation" in told.out
    assert "Wrote m.png" in told.err and (tmp_path / "m.png").stat().st_size > 5000
    figures = json.loads((tmp_path / "i").read_text())["metric"]
    force_field = kraft.load(mixed_file)
    metric = metric_map(force_field)
    np.testing.assert_allclose(figures["effective_weights"], metric.weights)
    strongest = metric.strongest_couplings(20)
    for shown, each in zip(figures["strongest_couplings"], strongest, strict=True):
        assert shown["pairs"] == metric.pairs[[each.one, each.other]].tolist()
    unseen = unseen_frames(force_field, kraft.read(data_file)).dataset.positions
    some = unseen[[0, 16, 33, 49]]  # of 50
    expected = feature_importance(force_field, some).force_changes
    np.testing.assert_allclose(np.divide(figures["importance"], 1000.0), expected)
    assert figures["n_frames"] == 4 and -1.0 <= figures["rank_correlation"] <= 1.0


def test_fewer_frames_than_asked_for_are_told(model_file, data_file, run, capsys):
    assert run("info", model_file, data_file, "--n-frames", "60") == 0
    told = capsys.readouterr()
    assert "measured on 50 frames" in told.err
    shown = " ".join(told.out.split())
    assert "no rank correlation" in shown  # all weights are equal


@pytest.mark.parametrize(
    "words, message",
    [
        (["{data}", "--plot", "m.png"], "draws the metric of a model"),
        (["{data}", "{data}"], "Expected a model to look at"),
        (["{model}", "{data}", "--n-frames", "0"], "--n-frames to be at least 1"),
        (["{model}", "--plot", "m.txt"], ".png"),
        (["{model}", "nothing.npz"], "nothing.npz"),
    ],
)
def test_what_does_not_fit_is_said(words, message, model_file, data_file, run, capsys, tmp_path):
    files = {"{model}": model_file, "{data}": data_file}
    assert run("info", *(files.get(word, word) for word in words)) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "m.png").exists()


def test_atomized_models_have_no_metric(run, capsys, tmp_path):
    path = tmp_path / "aff.safetensors"
    ForceField(toy_atomized_parameters()).save(path)
    assert run("info", path, "--json", "i") == 0
    assert json.loads((tmp_path / "i").read_text())["metric"] is None
    assert run("info", path, "--plot", "m.png") == 1
    assert "Train an sGDML model" in " ".join(capsys.readouterr().err.split())
