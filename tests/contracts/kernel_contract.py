"""What every radial kernel must keep; subclass ``KernelContract`` and name the kernel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from kraft.kernels import RadialKernel


def distances_squared(dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
    return torch.tensor([1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 7.0, 30.0], dtype=dtype, device=device)


def force_kernel(kernel: RadialKernel, points: Tensor) -> Tensor:
    """Return covariances of value and negative gradient at points ``(P, D)``, by the formulas."""
    n, d = points.shape
    matrix = points.new_zeros(n, d + 1, n, d + 1)
    for i, j in itertools.product(range(n), repeat=2):
        delta = points[i] - points[j]
        squared = delta @ delta
        k, first, second = (kernel.derivative(order, squared) for order in range(3))
        matrix[i, :d, j, :d] = -first * torch.eye(d, dtype=points.dtype) - second * torch.outer(
            delta, delta
        )
        matrix[i, :d, j, d] = -first * delta
        matrix[i, d, j, :d] = first * delta
        matrix[i, d, j, d] = k
    return matrix.reshape(n * (d + 1), n * (d + 1))


class KernelContract:
    """Shared suite: set ``kernel``."""

    kernel: RadialKernel

    def test_one_at_zero(self, dtype, device):
        zero = torch.zeros((), dtype=dtype, device=device)
        assert float(self.kernel.derivative(0, zero)) == 1.0

    @pytest.mark.parametrize("order", [1, 2, 3])
    def test_derivatives_against_automatic_differentiation(self, order):
        """``(1/u) d/du = 2 d/d(u²)``."""
        squared = distances_squared().requires_grad_()
        lower = self.kernel.derivative(order - 1, squared)
        (slope,) = torch.autograd.grad(lower.sum(), squared)
        expected = 2.0 * slope
        torch.testing.assert_close(
            self.kernel.derivative(order, squared.detach()), expected, rtol=1e-9, atol=1e-14
        )

    def test_decreases_from_one_to_zero(self):
        values = self.kernel.derivative(0, torch.linspace(0.0, 400.0, 200, dtype=torch.float64))
        assert (values.diff() < 0.0).all()
        far = self.kernel.derivative(0, torch.tensor([1e8], dtype=torch.float64))
        assert 0.0 <= float(far) < 1e-100

    def test_scale_is_inverse_to_the_length_scale(self):
        assert self.kernel.scale(1.0) > 0.0
        assert self.kernel.scale(20.0) == pytest.approx(self.kernel.scale(1.0) / 20.0)

    def test_single_precision_agrees_with_double(self, device):
        for order in range(4):
            exact = self.kernel.derivative(order, distances_squared())
            single = self.kernel.derivative(order, distances_squared(torch.float32, device))
            assert single.dtype == torch.float32
            torch.testing.assert_close(single.cpu().double(), exact, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize("order", [0, 1, 2])
    def test_finite_where_geometries_coincide(self, order, dtype):
        """Rounding may make ``u²`` negative; the limit at zero must come out."""
        tiny = torch.tensor([0.0, -1e-16, 1e-30], dtype=dtype)
        values = self.kernel.derivative(order, tiny)
        torch.testing.assert_close(values, values[:1].expand(3), rtol=1e-6, atol=0)

    def test_third_derivative_is_harmless_at_zero(self):
        """It stands beside three factors ``δ``, so ``u³`` times it must vanish."""
        u = torch.tensor([1e-12, 1e-8, 1e-5], dtype=torch.float64)
        third = self.kernel.derivative(3, u.square())
        assert (third * u**3).abs().max() < 1e-9
        assert float(self.kernel.derivative(3, torch.zeros(1, dtype=torch.float64)) * 0.0) == 0.0

    @pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4)])
    def test_force_factors_are_the_derivatives(self, shape, dtype, device):
        squared = torch.tensor(
            np.random.default_rng(0).uniform(0.0, 9.0, size=shape), dtype=dtype, device=device
        )
        original = squared.clone()
        scratch = torch.full_like(squared, float("nan"))
        minus_first, second = self.kernel.force_factors_(squared, scratch)
        tolerance = 100 * torch.finfo(dtype).eps
        torch.testing.assert_close(
            minus_first / self.kernel.norm,
            -self.kernel.derivative(1, original),
            rtol=tolerance,
            atol=tolerance,
        )
        torch.testing.assert_close(
            second / self.kernel.norm,
            self.kernel.derivative(2, original),
            rtol=tolerance,
            atol=tolerance,
        )

    def test_force_factors_of_numpy_arrays_are_those_of_tensors(self):
        squared = np.random.default_rng(0).uniform(0.0, 9.0, size=(4, 5))
        tensors = self.kernel.force_factors_(
            torch.tensor(squared), torch.empty(4, 5, dtype=torch.float64)
        )
        arrays = self.kernel.force_factors_(squared.copy(), np.empty_like(squared))
        for tensor, array in zip(tensors, arrays, strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-14)

    def test_force_factors_lie_in_the_arguments(self, dtype, device):
        """No allocation in the hot loop: results live in the memory of the arguments."""
        squared = distances_squared(dtype, device)
        scratch = torch.empty_like(squared)
        memory = {squared.data_ptr(), scratch.data_ptr()}
        results = self.kernel.force_factors_(squared, scratch)
        assert {result.data_ptr() for result in results} <= memory
        assert all(result.shape == squared.shape for result in results)

    def test_force_factors_bear_rounding(self, dtype):
        squared = torch.tensor([-1e-7, -0.0, 0.0], dtype=dtype)
        minus_first, second = self.kernel.force_factors_(squared, torch.empty_like(squared))
        limit = torch.zeros(3, dtype=dtype)
        for got, order, sign in ((minus_first, 1, -1.0), (second, 2, 1.0)):
            expected = sign * self.kernel.derivative(order, limit)
            # a rounding error of 1e-7 in u² moves the factors of δ and δδᵀ by no more than u
            torch.testing.assert_close(got / self.kernel.norm, expected, rtol=4e-4, atol=0)

    @pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
    def test_force_kernel_is_positive_semidefinite(self, spread):
        """Values and gradients together, duplicate points included."""
        points = torch.tensor(np.random.default_rng(1).normal(size=(8, 3)) * spread)
        points[7] = points[0]
        matrix = force_kernel(self.kernel, points)
        torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-14)
        eigenvalues = torch.linalg.eigvalsh(matrix)
        assert float(eigenvalues[0]) > -1e-12 * float(eigenvalues[-1])

    def test_force_kernel_without_duplicates_is_positive_definite(self):
        points = torch.tensor(np.random.default_rng(2).normal(size=(6, 3)))
        assert float(torch.linalg.eigvalsh(force_kernel(self.kernel, points))[0]) > 1e-6
