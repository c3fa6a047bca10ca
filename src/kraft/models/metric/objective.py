"""What learning a metric minimizes: a criterion, with its gradient by all that makes the metric.

The variables are the logarithms of one weight for each orbit of features, which hold the length
scale too, how features mix, and the logarithm of the regularization. Everything follows from one
factorization: the gradient costs its inverse and a few times the assembly of the matrix
(`docs/theory.md`, section 13).
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.descriptors import FeatureMap, Features
from kraft.kernels import KernelOperator, radial_kernel
from kraft.kernels.feature_gradient import Cofactors, feature_gradient
from kraft.kernels.geometries import ReducedGeometries
from kraft.linalg import NotPositiveDefiniteError, PanelCholesky
from kraft.linalg.operators import assembled_panels
from kraft.models.metric.criteria import leave_one_out, likelihood, root_mean_square
from kraft.models.metric.variables import MetricVariables
from kraft.models.objective import TrainingArrays
from kraft.models.parameters import symmetric_mean

Criterion: TypeAlias = Literal["likelihood", "leave-one-out", "validation"]

CRITERIA: tuple[Criterion, ...] = ("likelihood", "leave-one-out", "validation")


class MetricObjective:
    """A criterion as a function of a metric and the logarithm of the regularization.

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
    variables
        What is varied.
    """

    def __init__(
        self,
        arrays: TrainingArrays,
        indices: IntArray,
        kernel: str,
        criterion: Criterion,
        prior_deviation: float,
        variables: MetricVariables,
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
        self.variables = variables
        self._prior_deviation = prior_deviation
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
        self._n_judged = judged.numel()

    @property
    def n_train(self) -> int:
        """Number of geometries to learn from."""
        return len(self._unscaled)

    def start(self, length_scale: float, regularization: float) -> FloatArray:
        """Return the variables of equal weights that do not mix."""
        point = np.zeros(self.variables.size)
        point[: self.variables.n_orbits] = math.log(self._kernel.scale(length_scale))
        point[-1] = math.log(regularization)
        return point

    def mean_diagonal(self, point: FloatArray) -> float:
        """Return the mean diagonal entry of the kernel matrix at a point."""
        return float(np.mean(np.asarray(self._operator(point).diagonal())))

    def __call__(self, point: FloatArray) -> tuple[float, FloatArray]:
        """Return the objective and its gradient, of the shape of the point.

        Infinity and zeros where the system is singular to rounding.
        """
        regularization = math.exp(point[-1])
        operator = self._operator(point)
        try:
            factor = _factorized(operator, regularization)
        except NotPositiveDefiniteError:
            return math.inf, np.zeros_like(point)
        value, by_mixing, by_diagonal = self._judged(operator, factor, point)
        gradient = self.variables.derivatives(point, by_mixing.cpu().numpy())
        prior, pull = self.variables.prior(point, self._prior_deviation)
        value += prior / self._n_judged
        gradient += pull / self._n_judged
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            return math.inf, np.zeros_like(point)
        return value, np.append(gradient, by_diagonal * regularization)

    def _geometries(self, positions: Tensor) -> ReducedGeometries:
        unscaled = FeatureMap(torch.ones_like(self._center), self._center)
        return ReducedGeometries.from_positions(self._descriptor, positions, unscaled)

    def _mapped(self, geometries: ReducedGeometries, point: FloatArray) -> ReducedGeometries:
        scale, mixing = self._scale(point), self.variables.mixing(point)
        values, gradients = geometries.features
        scaled = Features(values * scale, gradients * scale[:, None])
        if mixing is None:
            return ReducedGeometries(self._descriptor, scaled, geometries.basis)
        matrix = torch.as_tensor(mixing, device=self._center.device)
        features = Features(scaled.values @ matrix, scaled.gradients)
        return ReducedGeometries(self._descriptor, features, geometries.basis, matrix)

    def _scale(self, point: FloatArray) -> Tensor:
        return torch.as_tensor(self.variables.scale(point), device=self._center.device)

    def _operator(self, point: FloatArray) -> KernelOperator:
        return KernelOperator(self._kernel, self._mapped(self._unscaled, point), self._permutations)

    def _judged(
        self, operator: KernelOperator, factor: PanelCholesky, point: FloatArray
    ) -> tuple[float, Tensor, float]:
        """Return the criterion and its derivatives by the mixing ``(D, D)`` and the diagonal."""
        if self._valid is not None:
            return self._validated(operator, factor, point)
        if self._criterion == "likelihood":
            judgement = likelihood(factor, self._labels)
        else:
            judgement = leave_one_out(factor, self._labels, self.n_train)
        blocks = judgement.cofactors.view(
            self.n_train, operator.block_size, self.n_train, operator.block_size
        )
        training = operator.geometries
        by_rows = self._by_mixing(
            self._unscaled,
            training,
            training,
            lambda rows, columns: blocks[rows, :, columns],
            point,
        )
        return judgement.value, 2.0 * by_rows, float(judgement.cofactors.diagonal().sum())

    def _validated(
        self, operator: KernelOperator, factor: PanelCholesky, point: FloatArray
    ) -> tuple[float, Tensor, float]:
        """Return the same for the validation error.

        With the covariances ``K_v`` of the validation forces, the errors are ``y_v - K_v β``; with
        ``g`` the derivative by them, ``d = -gᵀ dK_v β + aᵀ dA β`` with ``A a = K_vᵀ g``.
        """
        assert self._valid is not None and self._valid_labels is not None
        training, valid = operator.geometries, self._mapped(self._valid, point)
        solution = factor.solve(self._labels)
        predicted = _predicted(operator, solution, valid)
        value, pulled = root_mean_square(self._valid_labels - predicted)
        queries = KernelOperator(self._kernel, valid, self._permutations)
        back = _predicted(queries, pulled.reshape(-1), training).reshape(-1)
        adjoint = factor.solve(back).view(self.n_train, -1)
        blocks = solution.view(self.n_train, -1)
        by_mixing = self._by_mixing(
            self._unscaled,
            training,
            training,
            lambda rows, columns: (
                _outer(adjoint[rows], blocks[columns]) + _outer(blocks[rows], adjoint[columns])
            ),
            point,
        )
        by_mixing -= self._by_mixing(
            self._valid,
            valid,
            training,
            lambda rows, columns: _outer(pulled[rows], blocks[columns]),
            point,
        )
        by_mixing -= self._by_mixing(
            self._unscaled,
            training,
            valid,
            lambda rows, columns: _outer(blocks[rows], pulled[columns]),
            point,
        )
        return value, by_mixing, float(adjoint.reshape(-1) @ solution)

    def _by_mixing(
        self,
        unscaled: ReducedGeometries,
        rows: ReducedGeometries,
        columns: ReducedGeometries,
        cofactors: Cofactors,
        point: FloatArray,
    ) -> Tensor:
        """Return ``Σ ⟨G_ij, ∂K_ij/∂C⟩`` ``(D, D)`` with the ``C`` of the rows."""
        found = feature_gradient(self._kernel, self._permutations, rows, columns, cofactors)
        scale = self._scale(point)
        jacobians = unscaled.reduced_jacobians(slice(None)) * scale[:, None]
        by_mixing = found.values.T @ (unscaled.features.values * scale)
        by_mixing += torch.einsum("mdr,mer->de", found.jacobians, jacobians)
        return by_mixing


def _factorized(operator: KernelOperator, regularization: float) -> PanelCholesky:
    panels = assembled_panels(operator)
    panels.add_to_diagonal(regularization)
    return panels.factorize_()


def _predicted(operator: KernelOperator, vector: Tensor, queries: ReducedGeometries) -> Tensor:
    """Return the forces ``(B, r)`` that coefficients make at other geometries."""
    gradients = torch.as_tensor(operator.expansion(vector)(queries.features.values).gradients)
    return queries.reduce(queries.pulled(gradients))


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("tr,cs->trcs", left, right)
