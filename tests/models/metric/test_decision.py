from dataclasses import replace

import numpy as np
import pytest
from metric_cases import arrays_of, bond_frames
from molecules import WATER
from toy_models import toy_dataset

import kraft
from kraft.core.errors import OptionError, UnfinishedError
from kraft.core.progress import silent
from kraft.models.checkpoint import read_state
from kraft.models.choice import Trial
from kraft.models.metric import MetricOptions, choose_with_metric
from kraft.models.metric.decision import _better
from kraft.models.selection import Request

FREE = MetricOptions(prior_deviation=2.0, max_steps=15)


MATERN = Request("matern52")


def decide(training, request=MATERN, options=FREE):
    arrays = arrays_of(training, np.arange(training.n_atoms)[None])
    return choose_with_metric(arrays, request, seed=0, progress=silent, options=options)


def test_takes_learned_weights_that_are_better():
    decision = decide(bond_frames(12))
    assert decision.used and not decision.notices
    assert decision.learned.force_mae < 0.98 * decision.equal.force_mae
    np.testing.assert_array_equal(decision.arrays.feature_weights, decision.metric.feature_weights)
    assert (
        "3 weights of features and their mixing learned by likelihood on 12 geom"
        in decision.choice.reason
    )


def test_keeps_equal_weights_where_learning_gains_nothing():
    decision = decide(bond_frames(12), options=MetricOptions(prior_deviation=1e-6))
    assert not decision.used
    assert (decision.arrays.feature_weights == 1.0).all()
    assert "learned" not in decision.choice.reason
    assert "was dropped" in decision.notices[0]


def test_weights_that_spoil_the_energies_are_not_taken():
    equal = Trial("gaussian", 1.0, 1e-6, 20, 0.10, 0.010)
    for force_mae, energy_mae, better in (
        (0.05, 0.010, True),
        (0.05, 0.012, False),
        (0.099, 0.001, False),
        (0.05, None, True),
    ):
        assert _better(equal, replace(equal, force_mae=force_mae, energy_mae=energy_mae)) == better
    assert _better(None, None)


def test_given_parameters_leave_nothing_to_compare():
    decision = decide(bond_frames(8), Request("matern52", 3.0, 1e-6))
    assert decision.used and decision.choice.criterion == "given"
    assert decision.choice.length_scale == 3.0
    assert "not compared" in decision.notices[0]


def test_learns_from_the_geometries_that_the_search_does_not_hold_out():
    decision = decide(bond_frames(12), options=MetricOptions(max_labels=15, max_steps=2))
    assert decision.metric.n_train == 5  # 15 labels of three each


class TestTraining:
    def test_makes_an_ordinary_model(self, tmp_path):
        training = bond_frames(12)
        options = {"kernel": "matern52", "permutations": None, "metric_options": FREE}
        model, result = kraft.train(training, feature_weights="learned", **options)
        weights = result.metric.metric.feature_weights
        np.testing.assert_array_equal(model.parameters.feature_weights, weights)
        assert model.record.choice.endswith(result.choice.reason)
        model.save(tmp_path / "model.safetensors")
        again = kraft.ForceField.load(tmp_path / "model.safetensors")
        positions = bond_frames(3, seed=3).positions
        expected = model.predict(positions).forces
        np.testing.assert_array_equal(again.predict(positions).forces, expected)
        iterative, _ = kraft.train(
            training, feature_weights="learned", solver="iterative", **options
        )
        np.testing.assert_allclose(iterative.predict(positions).forces, expected, atol=5e-3)
        same, _ = kraft.train(
            training,
            feature_weights=weights,
            feature_mixing=model.parameters.feature_mixing,
            permutations=None,
            kernel=result.choice.kernel,
            length_scale=result.choice.length_scale,
            regularization=result.choice.regularization,
        )
        np.testing.assert_array_equal(same.predict(positions).forces, expected)

    def test_symmetric_atoms_stay_symmetric(self):
        model, _ = kraft.train(
            toy_dataset(WATER, 10),
            feature_weights="learned",
            kernel="matern52",
            permutations=WATER.permutations,
            metric_options=MetricOptions(max_steps=3),
        )
        positions = WATER.frames(2, seed=3)
        one, other = model.predict(positions), model.predict(positions[:, [0, 2, 1]])
        np.testing.assert_allclose(one.energies, other.energies, atol=1e-8)
        np.testing.assert_allclose(one.forces[:, [0, 2, 1]], other.forces, atol=1e-7)

    def test_learns_from_forces_when_energies_are_labels_too(self):
        _, result = kraft.train(
            toy_dataset(WATER, 8),
            feature_weights="learned",
            kernel="matern52",
            permutations=WATER.permutations,
            energy_weight=1.0,
            metric_options=MetricOptions(max_steps=2),
        )
        assert result.metric.metric.steps

    def test_an_interruption_leaves_nothing_and_a_state_keeps_the_weights(self, tmp_path):
        training, state = bond_frames(12), tmp_path / "m.state.safetensors"
        options = {
            "feature_weights": "learned",
            "kernel": "matern52",
            "permutations": None,
            "metric_options": FREE,
            "checkpoint": state,
        }

        def interrupted_at(wanted):
            def progress(stage, done, total):
                if stage == wanted:
                    raise KeyboardInterrupt

            return progress

        with pytest.raises(KeyboardInterrupt):
            kraft.train(training, progress=interrupted_at("learning the metric"), **options)
        assert not state.exists()
        whole, result = kraft.train(training, **options)
        weights = read_state(state).feature_weights
        np.testing.assert_array_equal(weights, whole.parameters.feature_weights)
        mixing = read_state(state).feature_mixing
        assert np.abs(mixing - np.eye(3)).max() > 1e-3
        np.testing.assert_array_equal(mixing, whole.parameters.feature_mixing)

        def forbidden(stage, done, total):
            assert "choosing" not in stage and "learning" not in stage

        resumed, again = kraft.train(training, resume=True, progress=forbidden, **options)
        assert again.metric is None and again.choice == result.choice
        positions = bond_frames(3, seed=3).positions
        np.testing.assert_array_equal(
            resumed.predict(positions).forces, whole.predict(positions).forces
        )
        with pytest.raises(OptionError, match="learning of the metric differs"):
            kraft.train(training, resume=True, **{**options, "metric_options": MetricOptions()})

    def test_a_training_interrupted_in_the_solver_resumes_with_the_learned_metric(self, tmp_path):
        training, state = bond_frames(12), tmp_path / "m.state.safetensors"
        options = {
            "feature_weights": "learned",
            "kernel": "matern52",
            "permutations": None,
            "metric_options": FREE,
            "solver": "iterative",
        }
        whole, _ = kraft.train(training, **options)

        def interrupted(stage, done, total):
            if stage == "building the preconditioner":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            kraft.train(training, progress=interrupted, checkpoint=state, **options)
        assert read_state(state).solver is None
        mixing = read_state(state).feature_mixing
        np.testing.assert_array_equal(mixing, whole.parameters.feature_mixing)
        resumed, _ = kraft.train(training, resume=True, checkpoint=state, **options)
        positions = bond_frames(3, seed=3).positions
        np.testing.assert_array_equal(
            resumed.predict(positions).forces, whole.predict(positions).forces
        )

    def test_is_what_a_training_does_by_itself(self):
        training = bond_frames(16)
        options = {"kernel": "matern52", "permutations": None, "metric_options": FREE}
        model, result = kraft.train(training, **options)
        asked, _ = kraft.train(training, feature_weights="learned", **options)
        assert result.metric.used and result.metric.choice == result.choice
        for name in ("feature_weights", "feature_mixing"):
            learned = getattr(asked.parameters, name)
            np.testing.assert_array_equal(getattr(model.parameters, name), learned)

    @pytest.mark.parametrize(
        ("n_train", "options"),
        [
            (14, {}),
            (16, {"length_scale": 3.0}),
            (16, {"regularization": 1e-6}),
            (16, {"feature_weights": None}),
        ],
    )
    def test_a_training_leaves_weights_equal(self, n_train, options):
        """Where frames are few, or other weights would change the meaning of what was given."""
        training = bond_frames(n_train)
        model, result = kraft.train(training, kernel="matern52", permutations=None, **options)
        assert result.metric is None
        assert (model.parameters.feature_weights == 1.0).all()
        assert model.parameters.feature_mixing is None

    def test_dropping_weights_nobody_asked_for_is_no_news(self):
        options = {"permutations": None, "kernel": "matern52"}
        options["metric_options"] = MetricOptions(prior_deviation=1e-6, max_steps=2)
        _, quiet = kraft.train(bond_frames(16), **options)
        assert not quiet.metric.used
        assert not any("dropped" in notice for notice in quiet.notices)
        _, told = kraft.train(bond_frames(16), feature_weights="learned", **options)
        assert any("dropped" in notice for notice in told.notices)

    def test_refuses_other_words(self):
        with pytest.raises(OptionError, match="'auto', 'learned', None or"):
            kraft.train(bond_frames(6), feature_weights="best", permutations=None)


def test_a_time_limit_counts_for_the_metric_too():
    options = kraft.SolverOptions(max_time=1e-6)
    with pytest.raises(UnfinishedError):
        kraft.train(
            bond_frames(8), feature_weights="learned", permutations=None, solver_options=options
        )
