from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from kraft.core.errors import OptionError
from kraft.data import Units
from kraft.reports.figures import (
    LearningCurve,
    learning_figure,
    save_figure,
    tidy,
    titled_panels,
)

NUMBERS = np.array([6, 8, 1, 1, 1, 1])
CURVE = LearningCurve(np.array([25, 50, 100]), 0.4 * np.array([25.0, 50.0, 100.0]) ** -0.5, 40)


@pytest.fixture(scope="module")
def forces():
    random = np.random.default_rng(0)
    reference = random.normal(size=(40, 6, 3))
    return reference, reference + 0.05 * random.normal(size=reference.shape)


@pytest.fixture(scope="module")
def figure(forces):
    return learning_figure(CURVE, NUMBERS, *forces, units=Units("kcal/mol"), title="Methanol")


def test_axes_say_what_and_in_which_units(figure):
    left, middle, right = figure.axes[:3]
    assert left.get_ylabel() == "force MAE (kcal/mol/Å)"
    assert left.get_xlabel() == "training geometries"
    assert left.get_xscale() == left.get_yscale() == "log"
    assert middle.get_xlabel() == "reference force component (kcal/mol/Å)"
    assert right.get_xlabel() == "error of force component (kcal/mol/Å)"
    assert figure.get_suptitle() == "Methanol"


def test_points_are_those_of_the_curve_in_the_units_shown(figure):
    (line,) = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), CURVE.n_train)
    np.testing.assert_allclose(line.get_ydata(), CURVE.force_mae / Units("kcal/mol").force_factor)


def test_every_force_component_is_counted_once(figure, forces):
    cells = figure.axes[1].collections[0]
    assert cells.get_array().sum() == forces[0].size


def test_errors_are_given_for_each_element(figure, forces):
    labels = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert [label.split()[0] for label in labels] == ["O", "C", "H"]
    oxygen = np.abs(forces[1] - forces[0])[:, 1].mean() / Units("kcal/mol").force_factor
    assert float(labels[0].split()[1]) == pytest.approx(oxygen, rel=1e-2)


def test_exponent_of_the_curve():
    assert CURVE.exponent == pytest.approx(-0.5)
    assert LearningCurve(np.array([10]), np.array([0.1]), 5).exponent is None


def test_file_is_a_png_and_appears_whole(figure, tmp_path):
    path = tmp_path / "new" / "figure.png"
    save_figure(figure, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in path.parent.iterdir()] == ["figure.png"]


def test_perfect_predictions_and_one_point_can_be_drawn(forces, tmp_path):
    curve = LearningCurve(np.array([10]), np.array([0.1]), 40)
    save_figure(learning_figure(curve, NUMBERS, forces[0], forces[0]), tmp_path / "figure.png")


def test_unusual_elements_have_colors_too():
    numbers = np.array([3, 9, 14, 35])
    random = np.random.default_rng(1)
    figure = learning_figure(
        CURVE, numbers, random.normal(size=(5, 4, 3)), random.normal(size=(5, 4, 3))
    )
    legend = figure.axes[2].get_legend()
    assert len({handle.get_color() for handle in legend.legend_handles}) == 4


def test_forces_of_different_shape_are_refused(forces):
    with pytest.raises(OptionError, match="one shape"):
        learning_figure(CURVE, NUMBERS, forces[0], forces[1][:3])


@pytest.mark.parametrize("count", [1, 3])
def test_panels_stand_side_by_side_under_a_title(count):
    figure, panels = titled_panels(count, 4.0, 3.0, "Methanol")
    assert figure.get_size_inches().tolist() == [4.0 * count, 3.0]
    assert [axes.figure for axes in panels] == [figure] * count
    assert figure.get_suptitle() == "Methanol"
    assert titled_panels(count, 4.0, 3.0, "")[0].get_suptitle() == ""
    figure.draw_without_rendering()  # lays panels out
    places = [axes.get_position() for axes in panels]
    assert all(a.x1 < b.x0 and a.y0 == pytest.approx(b.y0) for a, b in pairwise(places))


def test_tidy_panels_have_no_frame_at_the_top_and_right():
    _, panels = titled_panels(2, 4.0, 3.0, "")
    tidy(panels)
    for axes in panels:
        shown = {name for name, spine in axes.spines.items() if spine.get_visible()}
        assert shown == {"left", "bottom"}
        assert axes.get_axisbelow()
