"""When an iteration restarts with more columns although it gets on."""

from types import SimpleNamespace

import pytest

from kraft.solvers.iteration import Iteration


@pytest.mark.parametrize(
    ("left", "build", "steps", "pays"),
    [(100.0, 1.0, 200, True), (100.0, 20.0, 200, False), (10.0, 0.0, 200, False),
     (None, 0.0, 200, False), (100.0, 1.0, 50, False), (100.0, 1.0, 201, False)],
)  # fmt: skip
def test_a_stronger_preconditioner_is_worth_its_time_or_not(left, build, steps, pays):
    """After 20 s: grow when what is left takes longer than half that and six builds together."""
    window = SimpleNamespace(steps=steps, seconds=20.0, seconds_left=lambda _: left)
    system = SimpleNamespace(seconds_last_build=build, solver=SimpleNamespace(check_interval=50))
    course = SimpleNamespace(
        _iterations=steps, _system=system, _window=window, _cg=SimpleNamespace(tolerance=1e-4)
    )
    assert Iteration._growth_pays(course) is pays
