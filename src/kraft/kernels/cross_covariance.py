"""Covariances of forces and energies at new geometries, with training labels and among themselves.

The energies of a model that learned from forces are known up to a constant, so the energy of a
geometry stands for the linear functional

    Ē(x) = E(x) - (1/M) Σ_j E(x_j),

its difference from the mean energy of the training geometries, to which the constant is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from kraft.kernels.contraction import SymmetricContraction
from kraft.kernels.covariance_tiles import TILE_COLUMNS, TILE_ELEMENTS, CovarianceTiles
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.operator import KernelOperator


class CrossCovariance:
    """Prior covariances of queries with the labels of a kernel operator.

    A query is a geometry with a basis of displacements, in which its forces are ``r`` numbers; the
    basis is that of its internal motions, or any other directions. Its energy ``Ē`` comes last.

    Parameters
    ----------
    operator
        The kernel matrix of the training labels.
    reference
        The geometries to whose mean energy energies are relative; those of the labels when not
        given.
    """

    def __init__(
        self, operator: KernelOperator, reference: ReducedGeometries | None = None
    ) -> None:
        self._operator = operator
        self._geometries = operator.geometries
        self._tiles = CovarianceTiles(
            operator.kernel,
            operator.feature_permutations,
            dtype=operator.dtype,
            device=operator.device,
        )
        reference = self._geometries if reference is None else reference
        values = reference.features.values
        self._mean_energy = SymmetricContraction(
            operator.kernel,
            values,
            torch.zeros_like(values),
            operator.feature_permutations,
            values.new_full((len(values),), 1.0 / len(values)),
        )
        forces, energies = self._with_mean(self._geometries)
        parts = [forces, energies[:, None]] if operator.energy_labels else [forces]
        self._mean_with_labels = torch.cat(parts, dim=1).reshape(-1)
        self._mean_variance = self._mean_energy(values).energies.mean()

    @property
    def energy_amplitude(self) -> float:
        """Largest covariance of two energies, of which those of ``Ē`` are differences."""
        kernel = self._operator.kernel
        at_zero = float(kernel.derivative(0, torch.zeros((), dtype=self._operator.dtype)))
        return len(self._operator.feature_permutations) * at_zero

    def _with_mean(self, queries: ReducedGeometries) -> tuple[Tensor, Tensor]:
        """Return the covariances of forces ``(B, r)`` and energies ``(B,)`` with the mean."""
        energies, gradients = self._mean_energy(queries.features.values)
        forces = queries.pulled(gradients)
        return queries.reduce(forces), energies

    def forces(self, queries: ReducedGeometries) -> Tensor:
        """Return the covariances ``(B, r, size)`` of the queries' forces with the labels."""
        labels, energies = self._operator.size, self._operator.energy_labels
        entries = self._mean_with_labels.new_empty(len(queries), queries.n_motions, labels)
        for some, part in self._strips(queries, row_energies=False, column_energies=energies):
            entries[some] = part.flatten(2)
        return entries

    def forces_and_energies(self, queries: ReducedGeometries) -> tuple[Tensor, Tensor]:
        """Return covariances of forces and energies ``Ē`` with the labels, and among themselves.

        Returns
        -------
        Tensor
            ``(B, r + 1, size)``: with the labels.
        Tensor
            ``(B, r + 1, r + 1)``: of every query with itself.
        """
        labels, rows = self._operator.size, queries.n_motions + 1
        with_labels = self._mean_with_labels.new_empty(len(queries), rows, labels)
        energies = self._operator.energy_labels
        for some, part in self._strips(queries, row_energies=True, column_energies=energies):
            with_labels[some] = part.flatten(2)
        with_labels[:, -1] -= self._mean_with_labels
        own = self._own(queries)
        with_mean = torch.cat([part.view(len(queries), -1) for part in self._with_mean(queries)], 1)
        own[:, :, -1] -= with_mean
        own[:, -1, :] -= with_mean
        own[:, -1, -1] += self._mean_variance
        return with_labels, own

    def among(self, queries: ReducedGeometries) -> Tensor:
        """Return the covariance ``(B r, B r)`` of the forces of all queries with each other."""
        size, width = len(queries), queries.n_motions
        among = self._mean_with_labels.new_empty(size, width, size, width)
        step = max(1, TILE_COLUMNS // width)
        for some in _pieces(size, self._tile_height(queries)):
            rows = self._tiles.rows(queries, some)
            for columns in _pieces(size, step):
                among[some, :, columns] = self._tiles.tile(
                    rows, queries, columns, row_energies=False, column_energies=False
                )
        among = among.view(size * width, size * width)
        return 0.5 * (among + among.T)

    def _strips(
        self, queries: ReducedGeometries, *, row_energies: bool, column_energies: bool
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield some queries and their covariances ``(T, b, M, b')`` with the training set."""
        n_train = len(self._geometries)
        shape = (
            queries.n_motions + int(row_energies),
            n_train,
            self._geometries.n_motions + int(column_energies),
        )
        step = max(1, TILE_COLUMNS // self._geometries.n_motions)
        for some in _pieces(len(queries), self._tile_height(queries)):
            rows = self._tiles.rows(queries, some)
            part = self._mean_with_labels.new_empty(some.stop - some.start, *shape)
            for columns in _pieces(n_train, step):
                part[:, :, columns] = self._tiles.tile(
                    rows,
                    self._geometries,
                    columns,
                    row_energies=row_energies,
                    column_energies=column_energies,
                )
            yield some, part

    def _own(self, queries: ReducedGeometries) -> Tensor:
        """Return the covariances ``(B, r + 1, r + 1)`` of forces and energy of single queries."""
        blocks = []
        for one in _pieces(len(queries), 1):
            rows = self._tiles.rows(queries, one)
            tile = self._tiles.tile(rows, queries, one, row_energies=True, column_energies=True)
            blocks.append(tile[0, :, 0])
        return torch.stack(blocks)

    @staticmethod
    def _tile_height(queries: ReducedGeometries) -> int:
        return max(1, TILE_ELEMENTS // (queries.descriptor.n_features * queries.n_motions))


def _pieces(size: int, step: int) -> Iterator[slice]:
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
