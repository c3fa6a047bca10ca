import math

import numpy as np
import pytest
import torch
from molecules import WATER
from toy_models import toy_dataset

import kraft.models.selection as module
from kraft.core.errors import OptionError, SolverError
from kraft.core.progress import silent
from kraft.descriptors import InverseDistances
from kraft.models.compass_search import compass_search
from kraft.models.labels import Labels
from kraft.models.objective import SINGULAR, Objective, TrainingArrays
from kraft.models.selection import Choice, Request, choose
from kraft.symmetry.orbits import feature_permutations

BOUNDS = ((-10.0, 10.0), (-10.0, 10.0))


class Recorder:
    """A function that remembers where it was evaluated."""

    def __init__(self, function):
        self.function, self.points = function, []

    def __call__(self, point):
        self.points.append(point)
        return self.function(*point)


@pytest.fixture
def arrays():
    training, validation = toy_dataset(WATER, 20), toy_dataset(WATER, 10, seed=1)
    return TrainingArrays(
        descriptor=InverseDistances(3),
        positions=torch.tensor(training.positions),
        labels=Labels.from_dataset(training),
        feature_permutations=feature_permutations(WATER.permutations),
        feature_weights=np.ones(3),
        valid_positions=torch.tensor(validation.positions),
        valid_forces=torch.tensor(validation.forces),
    )


class TestCompassSearch:
    def search(self, function, start=(0.0, 0.0), free=(0, 1), bounds=BOUNDS, smallest=0.01):
        recorder = Recorder(function)
        best = compass_search(recorder, start, bounds, free, step=1.0, smallest_step=smallest)
        assert best in recorder.points
        assert len(set(recorder.points)) == len(recorder.points), "a point was evaluated twice"
        assert function(*best) == min(function(*point) for point in recorder.points)
        return best, recorder.points

    def test_finds_the_minimum_of_a_bowl(self):
        best, _ = self.search(lambda x, y: (x - 3.3) ** 2 + 2.0 * (y + 1.7) ** 2)
        assert best == pytest.approx((3.3, -1.7), abs=0.02)

    def test_walks_along_a_narrow_valley(self):
        best, points = self.search(lambda x, y: (x + y - 6.0) ** 2 + 100.0 * (x - y) ** 2)
        assert best == pytest.approx((3.0, 3.0), abs=0.02)
        assert len(points) < 100

    @pytest.mark.parametrize("free, expected", [((0,), (3.0, 0.0)), ((1,), (0.0, -2.0))])
    def test_leaves_fixed_axes_alone(self, free, expected):
        best, points = self.search(lambda x, y: (x - 3.0) ** 2 + (y + 2.0) ** 2, free=free)
        assert best == pytest.approx(expected, abs=0.02)
        fixed = 1 - free[0]
        assert {point[fixed] for point in points} == {0.0}

    def test_without_a_free_axis_evaluates_the_start_only(self):
        best, points = self.search(lambda x, y: x + y, start=(1.0, 2.0), free=())
        assert best == (1.0, 2.0) and points == [(1.0, 2.0)]

    def test_stays_within_the_bounds_and_reaches_them(self):
        best, points = self.search(lambda x, y: x - y, bounds=((-2.5, 2.0), (-1.0, 1.5)))
        assert best == (-2.5, 1.5)
        assert all(-2.5 <= x <= 2.0 and -1.0 <= y <= 1.5 for x, y in points)

    def test_goes_around_where_the_function_is_not_defined(self):
        best, _ = self.search(lambda x, y: math.inf if x > 1.5 else (x - 3.0) ** 2 + y**2)
        assert best == pytest.approx((1.5, 0.0), abs=0.02)

    def test_nowhere_defined(self):
        best, _ = self.search(lambda *_: math.inf)
        assert best == (0.0, 0.0)


class TestChoose:
    def test_given_parameters_are_kept(self, arrays):
        choice = choose(arrays, Request("gaussian", 3.0, 1e-7), seed=0, progress=silent)
        assert choice == Choice("gaussian", 3.0, 1e-7, "given")

    @pytest.mark.parametrize(
        "fixed", [{"length_scale": 2.5}, {"regularization": 1e-7}, {"kernel": "matern72"}], ids=str
    )
    def test_fixed_parameters_are_honored_in_every_trial(self, arrays, fixed):
        choice = choose(arrays, Request(**fixed), seed=0, progress=silent)
        for name, value in fixed.items():
            assert getattr(choice, name) == value
            assert {getattr(trial, name) for trial in choice.trials} == {value}
        free = {"length_scale", "regularization"} - set(fixed)
        assert all(len({getattr(trial, name) for trial in choice.trials}) > 3 for name in free)

    def test_the_choice_is_the_best_trial_and_all_are_on_record(self, arrays):
        choice = choose(arrays, Request(), seed=0, progress=silent)
        assert {trial.kernel for trial in choice.trials} == {"matern52", "matern72", "gaussian"}
        best = min(choice.trials, key=lambda trial: trial.force_mae)
        assert (choice.kernel, choice.length_scale, choice.regularization) == (
            best.kernel,
            best.length_scale,
            best.regularization,
        )
        objective = Objective(arrays, np.arange(20), choice.kernel)
        error = objective.force_mae(choice.length_scale, choice.regularization)
        assert error == pytest.approx(best.force_mae, rel=1e-6)
        assert choice.criterion == "validation" and "validation" in choice.reason
        assert str(len(choice.trials)) in choice.reason

    def test_better_than_where_it_started(self, arrays):
        choice = choose(arrays, Request("matern52"), seed=0, progress=silent)
        assert min(t.force_mae for t in choice.trials) < 0.9 * choice.trials[0].force_mae

    def test_the_same_seed_gives_the_same_choice(self, arrays):
        first, second = (
            choose(arrays, Request("matern52"), seed=4, progress=silent) for _ in range(2)
        )
        assert first.trials == second.trials

    @pytest.mark.parametrize(
        "bounds, expected",
        [
            ({"LENGTH_SCALE_BOUNDS": (0.1, 0.5)}, "length scale"),
            ({"REGULARIZATION_BOUNDS": (1e-3, 1e-2)}, "regularization"),
        ],
    )
    def test_an_end_at_the_edge_is_told(self, arrays, bounds, expected, monkeypatch):
        for name, value in bounds.items():
            monkeypatch.setattr(module, name, value)
        start = {"matern52": (0.4, 1e-8) if "scale" in expected else (3.0, 5e-3)}
        monkeypatch.setattr(module, "START", start)
        choice = choose(arrays, Request("matern52"), seed=0, progress=silent)
        assert expected in choice.at_edge

    def test_a_given_value_at_the_edge_is_the_user_s_business(self, arrays, monkeypatch):
        monkeypatch.setattr(module, "LENGTH_SCALE_BOUNDS", (1.0, 100.0))
        request = Request("matern52", length_scale=1.0)
        choice = choose(arrays, request, seed=0, progress=silent)
        assert "length scale" not in choice.at_edge

    def test_two_rounds_on_larger_subsets(self, arrays, monkeypatch):
        monkeypatch.setattr(module, "SMALL_SYSTEM", 18)  # six geometries of water
        monkeypatch.setattr(module, "LARGE_SYSTEM", 45)
        monkeypatch.setattr(module, "LARGEST_SYSTEM", 45)
        choice = choose(arrays, Request(), seed=0, progress=silent)
        assert {trial.n_train for trial in choice.trials} == {6, 15}
        best = min(
            (trial for trial in choice.trials if trial.n_train == 15), key=lambda t: t.force_mae
        )
        assert choice.length_scale == best.length_scale

    def test_the_last_round_moves_only_the_regularization_and_extrapolates(
        self, arrays, monkeypatch
    ):
        monkeypatch.setattr(module, "SMALL_SYSTEM", 15)
        monkeypatch.setattr(module, "LARGE_SYSTEM", 24)
        monkeypatch.setattr(module, "LARGEST_SYSTEM", 45)
        choice = choose(arrays, Request("matern52"), seed=0, progress=silent)
        last = [trial for trial in choice.trials if trial.n_train == 15]
        assert {trial.length_scale for trial in last} == {choice.length_scale}
        best = min(last, key=lambda t: t.force_mae)
        before = min((t for t in choice.trials if t.n_train == 8), key=lambda t: t.force_mae)
        power = np.log(before.regularization / best.regularization) / np.log(15 / 8)
        expected = best.regularization * (15 / 20) ** np.clip(power, 2.0, 3.0)
        lowest = 1e-12 * Objective(arrays, np.arange(15), "matern52").mean_diagonal(
            choice.length_scale
        )
        assert choice.regularization == pytest.approx(max(expected, min(lowest, expected)), rel=0.1)
        if choice.regularization != best.regularization:
            assert "extrapolated" in choice.reason

    def test_typical_values_where_the_subsets_learn_too_little(self, arrays, monkeypatch):
        monkeypatch.setattr(module, "SMALL_SYSTEM", 15)
        monkeypatch.setattr(module, "LARGE_SYSTEM", 24)
        monkeypatch.setattr(module, "POOR_FIT", 0.0)
        choice = choose(arrays, Request("gaussian"), seed=0, progress=silent)
        values = arrays.descriptor.values(arrays.positions)
        distance = float(torch.pdist(values).median())
        assert choice.length_scale == pytest.approx(16.0 * distance)
        assert "typical" in choice.reason
        objective = Objective(arrays, np.arange(20), "gaussian")
        relative = choice.regularization / objective.mean_diagonal(choice.length_scale)
        assert relative == pytest.approx(module.START["gaussian"][1], rel=0.2)

    def test_training_geometries_outside_the_subsets_are_held_out(self, monkeypatch):
        training = toy_dataset(WATER, 80)
        arrays = TrainingArrays(
            descriptor=InverseDistances(3),
            positions=torch.tensor(training.positions),
            labels=Labels.from_dataset(training),
            feature_permutations=feature_permutations(WATER.permutations),
            feature_weights=np.ones(3),
        )
        monkeypatch.setattr(module, "SMALL_SYSTEM", 30)
        monkeypatch.setattr(module, "LARGE_SYSTEM", 60)
        choice = choose(arrays, Request("matern52"), seed=0, progress=silent)
        assert choice.criterion == "held-out"
        assert max(trial.n_train for trial in choice.trials) == 80 - module.MIN_HELD_OUT

    def test_without_validation_geometries_one_is_left_out(self, arrays):
        options = {**vars(arrays), "valid_positions": None, "valid_forces": None}
        choice = choose(TrainingArrays(**options), Request("matern52"), seed=0, progress=silent)
        assert choice.criterion == "leave-one-out"

    def test_nothing_solvable_is_an_error(self, arrays, monkeypatch):
        monkeypatch.setattr(Objective, "fit", lambda *_: SINGULAR)
        with pytest.raises(SolverError, match="kraft info"):
            choose(arrays, Request("matern52"), seed=0, progress=silent)

    def test_progress_is_told_and_may_interrupt(self, arrays):
        stages = set()
        choose(arrays, Request("gaussian"), seed=0, progress=lambda *call: stages.add(call[0]))
        assert stages == {"choosing (gaussian)"}

        def interrupt(stage, done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            choose(arrays, Request("gaussian"), seed=0, progress=interrupt)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kernel": "rbf"}, "Unknown kernel"),
        ({"length_scale": 0.0}, "length scale must be a positive"),
        ({"length_scale": math.nan}, "length scale"),
        ({"regularization": -1.0}, "regularization must be"),
        ({"regularization": math.inf}, "regularization"),
    ],
)
def test_requests_that_make_no_sense(options, message):
    with pytest.raises(OptionError, match=message):
        Request(**options)


def test_complete_requests():
    assert Request("matern52", 20.0, 1e-10).complete
    assert not Request("auto", 20.0, 1e-10).complete
    assert not Request("matern52", 20.0).complete
