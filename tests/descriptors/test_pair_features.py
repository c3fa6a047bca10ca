import numpy as np
import pytest
from contracts.descriptor_contract import DescriptorContract
from molecules import CHIRAL, WATER, every_other_orbit, tensor

from kraft.core.errors import OptionError
from kraft.descriptors import FEATURE_FUNCTIONS, InverseDistances, PairFeatures


class TestInverseDistances(DescriptorContract):
    make = InverseDistances


class TestReduced(DescriptorContract):
    make = PairFeatures

    def options(self, molecule):
        return {"features": every_other_orbit(molecule)}


class _OfFunction(DescriptorContract):
    make = PairFeatures
    function: str

    def options(self, molecule):  # noqa: ARG002
        return {"feature_function": self.function}


class TestInverseSquareRoot(_OfFunction):
    function = "inverse-sqrt"


class TestInverseSquare(_OfFunction):
    function = "inverse-square"


class TestInverseCube(_OfFunction):
    function = "inverse-cube"


class TestLogarithm(_OfFunction):
    function = "log"


class TestReducedExponential(_OfFunction):
    function = "exponential"

    def options(self, molecule):
        return {"features": every_other_orbit(molecule), **super().options(molecule)}


def test_every_function_is_tested():
    of_classes = {part.function for part in globals().values() if hasattr(part, "function")} - {""}
    assert of_classes | {"inverse"} == set(FEATURE_FUNCTIONS)


def test_all_features_given_are_all_features():
    assert PairFeatures(5, features=range(10)).features is None
    positions = tensor(CHIRAL.frames(2))
    some = PairFeatures(5, features=[1, 4, 9])
    every = PairFeatures(5)
    got, expected = some.evaluate(positions), every.evaluate(positions)
    np.testing.assert_array_equal(got.values, expected.values[:, [1, 4, 9]])
    np.testing.assert_array_equal(got.gradients, expected.gradients[:, [1, 4, 9]])


@pytest.mark.parametrize(
    "features", [[], [0, 0], [1, 0], [-1], [3], [0.0, 1.0], [[0, 1]], [True, False, True], 1]
)
def test_features_that_are_no_pairs_are_refused(features):
    with pytest.raises(OptionError, match=r"from 0 to 2.*Got"):
        PairFeatures(WATER.n_atoms, features=features)


def test_values_and_gradients_of_a_known_triangle():
    positions = tensor(np.array([[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 4.0, 0.0]]]))
    features = InverseDistances(3).evaluate(positions)
    assert features.values[0].tolist() == pytest.approx([0.5, 0.25, 20**-0.5])
    # d(1/r)/dx of the first atom of (0, 1): it grows when the atom moves towards the second
    assert features.gradients[0, 0].tolist() == pytest.approx([0.25, 0.0, 0.0])
    assert features.gradients[0, 1].tolist() == pytest.approx([0.0, 1.0 / 16.0, 0.0])


def test_periodic_distance_across_the_boundary():
    cell = tensor(np.diag([10.0, 20.0, 30.0]))
    positions = tensor(np.array([[[0.5, 0.0, 0.0], [9.5, 0.0, 0.0]]]))
    features = InverseDistances(2, cell=cell).evaluate(positions)
    assert features.values.item() == pytest.approx(1.0)
    assert features.gradients[0, 0].tolist() == pytest.approx([-1.0, 0.0, 0.0])
