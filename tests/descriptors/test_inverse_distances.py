import numpy as np
import pytest
from contracts.descriptor_contract import DescriptorContract
from molecules import tensor

from kraft.descriptors import InverseDistances


class TestInverseDistances(DescriptorContract):
    make = InverseDistances


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
