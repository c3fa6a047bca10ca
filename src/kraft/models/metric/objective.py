"""What learning a metric minimizes: a criterion, with its gradient by the logarithms of weights.

The variables are the logarithms of one weight for each orbit of features, which hold the length
scale too, and that of the regularization. Everything follows from one factorization: the gradient
costs its inverse and a few times the assembly of the matrix (`docs/theory.md`, section 13).
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.descriptors import Features
from kraft.kernels import KernelOperator, radial_kernel
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.weight_gradient import weight_gradient
from kraft.linalg import NotPositiveDefiniteError, PanelCholesky
from kraft.linalg.operators import assembled_panels
from kraft.models.metric.criteria import leave_one_out, likelihood, root_mean_square
from kraft.models.objective import TrainingArrays
from kraft.models.parameters import symmetric_mean

Criterion: TypeAlias = Literal["likelihood", "leave-one-out", "validation"]

CRITERIA: tuple[Criterion, ...] = ("likelihood", "leave-one-out", "validation")


class MetricObjective:
    """A criterion as a function of log-weights and the logarithm of the regularization.

    Only forces are labels, whatever the model learns from later.

    Parameters
    ----------
    arrays
        The data; its feature weights are not used.
    indices
        ``(m,)`` the training geometries to learn from.
    kernel
        Name of the radial kernel.
    criterion
        ``"likelihood"``: profile marginal likelihood; ``"leave-one-out"``: the error at each
        geometry of a model without it; ``"validation"``: the error on validation geometries.
    prior_deviation
        Standard deviation of the logarithms of the weights about their mean that the prior expects;
        infinite for no prior.
    """

    def __init__(
        self,
        arrays: TrainingArrays,
        indices: IntArray,
        kernel: str,
        criterion: Criterion,
        prior_deviation: float,
    ) -> None:
        if criterion not in CRITERIA:
            raise OptionError(
                f"Unknown criterion {criterion!r} for a metric: give one of {', '.join(CRITERIA)}."
            )
        if not prior_deviation > 0.0:
            raise OptionError(
                f"The prior deviation of log-weights must be positive, got {prior_deviation}; "
                "infinity is no prior."
            )
        if criterion == "validation" and not arrays.has_validation:
            raise OptionError(
                "A metric can only be learned by validation error with validation geometries. Give "
                "some, or take the criterion 'likelihood' or 'leave-one-out'."
            )
        self._kernel = radial_kernel(kernel)
        self._criterion = criterion
        self._permutations = np.asarray(arrays.feature_permutations)
        self.orbits: IntArray = orbit_labels(self._permutations)
        self.n_orbits = int(self.orbits.max()) + 1
        self._descriptor = arrays.descriptor
        positions = arrays.positions[torch.as_tensor(indices, device=arrays.positions.device)]
        values = self._descriptor.values(positions)
        center = symmetric_mean(values.cpu().numpy(), self._permutations)
        self._center = torch.as_tensor(center, device=values.device)
        self._unscaled = self._geometries(positions)
        forces = torch.as_tensor(arrays.labels.subset(indices).forces, device=values.device)
        self._labels = self._unscaled.reduce(forces).reshape(-1)
        self._valid = self._valid_labels = None
        if criterion == "validation":
            assert arrays.valid_positions is not None and arrays.valid_forces is not None
            self._valid = self._geometries(arrays.valid_positions)
            self._valid_labels = self._valid.reduce(arrays.valid_forces / arrays.labels.scale)
        judged = self._labels if self._valid_labels is None else self._valid_labels
        self._stiffness = 1.0 / (judged.numel() * prior_deviation**2)

    @property
    def n_train(self) -> int:
        """Number of geometries to learn from."""
        return len(self._unscaled)

    def point(self, length_scale: float, regularization: float) -> FloatArray:
        """Return the variables ``(n_orbits + 1,)`` of equal weights."""
        log_scale = math.log(self._kernel.scale(length_scale))
        return np.append(np.full(self.n_orbits, log_scale), math.log(regularization))

    def scale(self, point: FloatArray) -> FloatArray:
        """Return the factors ``(D,)`` of the features at a point: weights and kernel scale."""
        factors: FloatArray = np.exp(point[: self.n_orbits])[self.orbits]
        return factors

    def mean_diagonal(self, point: FloatArray) -> float:
        """Return the mean diagonal entry of the kernel matrix at a point."""
        return float(np.mean(np.asarray(self._operator(point).diagonal())))

    def __call__(self, point: FloatArray) -> tuple[float, FloatArray]:
        """Return the objective and its gradient ``(n_orbits + 1,)``.

        Infinity and zeros where the system is singular to rounding.
        """
        regularization = math.exp(point[-1])
        operator = self._operator(point)
        try:
            factor = _factorized(operator, regularization)
        except NotPositiveDefiniteError:
            return math.inf, np.zeros_like(point)
        value, by_feature, by_diagonal = self._judged(operator, factor, point)
        gradient = np.bincount(self.orbits, by_feature.cpu().numpy(), self.n_orbits)
        deviations = point[:-1] - point[:-1].mean()
        value += 0.5 * self._stiffness * float(deviations @ deviations)
        gradient += self._stiffness * deviations
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            return math.inf, np.zeros_like(point)
        return value, np.append(gradient, by_diagonal * regularization)

    def _geometries(self, positions: Tensor) -> ReducedGeometries:
        unit = torch.ones_like(self._center)
        return ReducedGeometries.from_positions(self._descriptor, positions, unit, self._center)

    def _scaled(self, geometries: ReducedGeometries, point: FloatArray) -> ReducedGeometries:
        scale = torch.as_tensor(self.scale(point), device=self._center.device)
        values, gradients = geometries.features
        features = Features(values * scale, gradients * scale[:, None])
        return ReducedGeometries(self._descriptor, features, geometries.basis)

    def _operator(self, point: FloatArray) -> KernelOperator:
        return KernelOperator(self._kernel, self._scaled(self._unscaled, point), self._permutations)

    def _judged(
        self, operator: KernelOperator, factor: PanelCholesky, point: FloatArray
    ) -> tuple[float, Tensor, float]:
        """Return the criterion, its derivatives by log-weights ``(D,)`` and by the diagonal."""
        if self._valid is not None:
            return self._validated(operator, factor, self._scaled(self._valid, point))
        if self._criterion == "likelihood":
            judgement = likelihood(factor, self._labels)
        else:
            judgement = leave_one_out(factor, self._labels, self.n_train)
        blocks = judgement.cofactors.view(
            self.n_train, operator.block_size, self.n_train, operator.block_size
        )
        by_feature = weight_gradient(
            self._kernel,
            self._permutations,
            operator.geometries,
            operator.geometries,
            lambda rows, columns: blocks[rows, :, columns],
            symmetric=True,
        )
        return judgement.value, by_feature, float(judgement.cofactors.diagonal().sum())

    def _validated(
        self, operator: KernelOperator, factor: PanelCholesky, valid: ReducedGeometries
    ) -> tuple[float, Tensor, float]:
        """Return the same for the validation error.

        With the covariances ``K_v`` of the validation forces, the errors are ``y_v - K_v β``; with
        ``g`` the derivative by them, ``d = -gᵀ dK_v β + uᵀ dA β`` with ``A u = K_vᵀ g``.
        """
        assert self._valid_labels is not None
        solution = factor.solve(self._labels)
        predicted = _predicted(operator, solution, valid)
        value, pulled = root_mean_square(self._valid_labels - predicted)
        queries = KernelOperator(self._kernel, valid, self._permutations)
        back = _predicted(queries, pulled.reshape(-1), operator.geometries).reshape(-1)
        adjoint = factor.solve(back).view(self.n_train, -1)
        blocks = solution.view(self.n_train, -1)
        by_feature = weight_gradient(
            self._kernel,
            self._permutations,
            operator.geometries,
            operator.geometries,
            lambda rows, columns: (
                0.5
                * (_outer(adjoint[rows], blocks[columns]) + _outer(blocks[rows], adjoint[columns]))
            ),
            symmetric=True,
        )
        by_feature -= weight_gradient(
            self._kernel,
            self._permutations,
            valid,
            operator.geometries,
            lambda rows, columns: _outer(pulled[rows], blocks[columns]),
        )
        return value, by_feature, float(adjoint.reshape(-1) @ solution)


def orbit_labels(feature_permutations: IntArray) -> IntArray:
    """Return ``(D,)`` labels 0, 1, ... of the orbits of features under a group ``(S, D)``.

    >>> orbit_labels(np.array([[0, 1, 2], [0, 2, 1]])).tolist()
    [0, 1, 1]
    """
    smallest = np.asarray(feature_permutations).min(axis=0)  # of a group, all images are in it
    labels: IntArray = np.unique(smallest, return_inverse=True)[1].reshape(-1)
    return labels.astype(np.int64)


def _factorized(operator: KernelOperator, regularization: float) -> PanelCholesky:
    panels = assembled_panels(operator)
    panels.add_to_diagonal(regularization)
    return panels.factorize_()


def _predicted(operator: KernelOperator, vector: Tensor, queries: ReducedGeometries) -> Tensor:
    """Return the forces ``(B, r)`` that coefficients make at other geometries."""
    gradients = torch.as_tensor(operator.expansion(vector)(queries.features.values).gradients)
    forces = queries.descriptor.jacobian_transpose_product(queries.features, gradients)
    return queries.reduce(forces)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("tr,cs->trcs", left, right)
