"""The Gaussian process of a small model as one dense matrix, by automatic differentiation."""

from __future__ import annotations

import numpy as np
import torch
from kernel_cases import LENGTH_SCALE, Case
from molecules import Molecule
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.descriptors import visible_motions
from kraft.kernels import KERNELS
from kraft.models.parameters import Parameters, descriptors_and_coefficients

N_TRAIN = 3


class JointGaussian:
    """A model of three random geometries, and the covariances of two queries with their labels.

    Quantities come geometry by geometry, ``3N`` forces and one energy each, in the full space.
    """

    def __init__(
        self,
        molecule: Molecule,
        kernel: str,
        *,
        energies: bool,
        regularization: float = 1e-4,
        energy_weight: float = 0.3,
        cell: np.ndarray | None = None,
        features: IntArray | None = None,
        feature_function: str = "inverse",
        mixes: bool = False,
    ):
        chosen = {"features": features, "feature_function": feature_function}
        positions = molecule.frames(N_TRAIN + 2, seed=3)
        options = {"energies": energies, "cell": cell, "mixes": mixes}
        case = Case(KERNELS[kernel], molecule, positions, **options, **chosen)
        self.n = positions[0].size
        self.positions, self.train = case.positions, case.positions[:N_TRAIN]
        self.queries = case.positions[N_TRAIN:]
        count = len(positions)
        self.prior = torch.zeros(count, self.n + 1, count, self.n + 1, dtype=torch.float64)
        for i in range(count):
            for j in range(count):
                self.prior[i, :, j, :] = case.covariance(i, j)
        rng = np.random.default_rng(0)
        raw = case.descriptor.evaluate(self.train)
        basis = visible_motions(case.descriptor, self.train, raw).flatten(1, 2)
        alpha = basis @ torch.tensor(rng.normal(size=(N_TRAIN, basis.shape[2], 1)))
        epsilon = torch.tensor(rng.normal(size=N_TRAIN)) if energies else None
        self._solve(alpha[:, :, 0], epsilon, regularization, energy_weight)
        self.n_labels = N_TRAIN * (basis.shape[2] + int(energies))
        alpha = alpha.view(self.train.shape).numpy()
        descriptors, products = descriptors_and_coefficients(
            self.train.numpy(), alpha, cell, features, feature_function
        )
        self.parameters = Parameters(
            atomic_numbers=molecule.atomic_numbers,
            permutations=molecule.permutations,
            kernel=kernel,
            length_scale=LENGTH_SCALE,
            regularization=regularization,
            feature_weights=(case.scale / KERNELS[kernel].scale(LENGTH_SCALE)).numpy(),
            training_descriptors=descriptors,
            feature_coefficients=products,
            energy_offset=0.0,
            energy_coefficients=None if epsilon is None else epsilon.numpy(),
            cell=cell,
            training_positions=self.train.numpy(),
            coefficients=alpha,
            energy_weight=energy_weight if energies else None,
            feature_mixing=None if case.mixing is None else case.mixing.numpy(),
            **chosen,
        )

    def _solve(self, alpha: Tensor, epsilon: Tensor | None, strength: float, weight: float) -> None:
        """Set the matrix of the labels and the mean of ``coefficients · labels``."""
        rows = [range(i * (self.n + 1), i * (self.n + 1) + self.n) for i in range(N_TRAIN)]
        self.label_rows = [row for part in rows for row in part]
        noise, coefficients = [strength] * len(self.label_rows), alpha.reshape(-1)
        if epsilon is not None:
            self.label_rows += [i * (self.n + 1) + self.n for i in range(N_TRAIN)]
            noise += [strength / weight**2] * N_TRAIN
            coefficients = torch.cat([coefficients, epsilon])
        self.flat = self.prior.reshape(len(self.positions) * (self.n + 1), -1)
        matrix = self.flat[self.label_rows][:, self.label_rows]
        self.matrix = matrix + torch.diag(torch.tensor(noise, dtype=torch.float64))
        self.quadratic = float(coefficients @ self.matrix @ coefficients)

    @property
    def variance(self) -> float:
        """``σ_f²``."""
        return self.quadratic / self.n_labels

    def posterior(self, functionals: Tensor) -> Tensor:
        """Return the covariance of linear functionals ``(k, (M + 2)(3N + 1))`` given the labels."""
        mixed = functionals @ self.flat[:, self.label_rows]
        explained = mixed @ torch.linalg.solve(self.matrix, mixed.T)
        return self.variance * (functionals @ self.flat @ functionals.T - explained)

    def functional(self, query: int, direction: Tensor) -> Tensor:
        """Return ``direction · F`` of a query as a functional."""
        out = torch.zeros(len(self.positions), self.n + 1, dtype=torch.float64)
        out[N_TRAIN + query, : self.n] = direction.reshape(-1)
        return out.reshape(-1)

    def energy(self, query: int) -> Tensor:
        """Return the energy of a query less the mean of the training geometries'."""
        out = torch.zeros(len(self.positions), self.n + 1, dtype=torch.float64)
        out[N_TRAIN + query, self.n] = 1.0
        out[:N_TRAIN, self.n] = -1.0 / N_TRAIN
        return out.reshape(-1)
