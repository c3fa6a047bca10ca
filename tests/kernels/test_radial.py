import numpy as np
import pytest
import torch
from contracts.kernel_contract import KernelContract
from scipy.special import gamma, kv

from kraft.core.errors import OptionError
from kraft.kernels import KERNELS, Gaussian, Matern, radial_kernel

DISTANCES = np.array([0.01, 0.3, 1.0, 2.5, 8.0])


class TestMatern52(KernelContract):
    kernel = Matern(2)


class TestMatern72(KernelContract):
    kernel = Matern(3)


class TestGaussian(KernelContract):
    kernel = Gaussian()


def _at_distance(kernel, distances, length_scale):
    scaled = torch.tensor(distances * kernel.scale(length_scale))
    return kernel.derivative(0, scaled.square()).numpy()


@pytest.mark.parametrize("p", [2, 3])
def test_matern_against_its_bessel_function(p):
    nu, length_scale = p + 0.5, 1.7
    u = np.sqrt(2.0 * nu) * DISTANCES / length_scale
    expected = 2.0 ** (1.0 - nu) / gamma(nu) * u**nu * kv(nu, u)
    np.testing.assert_allclose(
        _at_distance(Matern(p), DISTANCES, length_scale), expected, rtol=1e-9
    )


def test_matern52_is_the_kernel_of_the_papers():
    sigma = 20.0
    u = np.sqrt(5.0) * DISTANCES / sigma
    expected = (1.0 + u + u**2 / 3.0) * np.exp(-u)
    np.testing.assert_allclose(_at_distance(Matern(2), DISTANCES, sigma), expected, rtol=1e-14)


def test_gaussian_is_the_squared_exponential():
    expected = np.exp(-(DISTANCES**2) / (2.0 * 1.3**2))
    np.testing.assert_allclose(_at_distance(Gaussian(), DISTANCES, 1.3), expected, rtol=1e-14)


def test_every_registered_kernel_is_tested_and_found_by_its_name():
    tested = {suite.kernel.name for suite in (TestMatern52, TestMatern72, TestGaussian)}
    assert set(KERNELS) == tested
    for name in tested:
        assert radial_kernel(name).name == name
        assert radial_kernel(name).label


def test_unknown_kernel_lists_the_known_ones():
    with pytest.raises(OptionError, match="gaussian, matern52, matern72"):
        radial_kernel("matern32")
