"""Kernel operators of small molecules, and their matrix by automatic differentiation."""

import numpy as np
import torch
from molecules import tensor

from kraft.descriptors import FeatureMap, PairFeatures
from kraft.kernels import KernelOperator
from kraft.kernels.geometries import ReducedGeometries
from kraft.symmetry.orbits import feature_orbits, feature_permutations

LENGTH_SCALE = 1.5


def random_mixing(table, *, strength=0.2, seed=5):
    """Return a symmetric matrix ``(D, D)`` near the identity that commutes with a group."""
    table = np.asarray(table)
    n_features = table.shape[1]
    entries = strength * np.random.default_rng(seed).normal(size=(n_features, n_features))
    entries += entries.T
    mean = np.mean([entries[np.ix_(images, images)] for images in table], axis=0)
    return torch.tensor(np.eye(n_features) + mean)


class Case:
    """An operator, and its covariances the slow way, in the full space of ``3N + 1`` labels."""

    def __init__(
        self,
        kernel,
        molecule,
        positions,
        *,
        energies=False,
        cell=None,
        dtype=torch.float64,
        device="cpu",
        weights=(1.0, 1.5, 2.0),
        features=None,
        feature_function="inverse",
        mixes=False,
    ):
        self.kernel, self.positions = kernel, tensor(positions)
        self.table = feature_permutations(molecule.permutations, features)
        cell = None if cell is None else tensor(cell)
        chosen = {"cell": cell, "features": features, "feature_function": feature_function}
        self.descriptor = PairFeatures(molecule.n_atoms, **chosen)
        self.scale = torch.full((self.descriptor.n_features,), kernel.scale(LENGTH_SCALE))
        for index, orbit in enumerate(feature_orbits(molecule.permutations, features)):
            self.scale[orbit] *= weights[index % len(weights)]
        self.scale = self.scale.double()
        center = self.descriptor.values(self.positions).mean(dim=0)
        center = center[torch.as_tensor(self.table)].mean(dim=0)
        self.mixing = random_mixing(self.table) if mixes else None
        feature_map = FeatureMap(self.scale, center, self.mixing)
        geometries = ReducedGeometries.from_positions(self.descriptor, self.positions, feature_map)
        self.basis = geometries.basis
        self.energies = energies
        if dtype != torch.float64 or device != "cpu":
            options = {"dtype": dtype, "device": device}
            geometries = ReducedGeometries(
                PairFeatures(molecule.n_atoms, **chosen, **options),
                type(geometries.features)(*(part.to(**options) for part in geometries.features)),
                self.basis.to(**options),
                None if self.mixing is None else self.mixing.to(**options),
            )
        self.operator = KernelOperator(kernel, geometries, self.table, energy_labels=energies)

    def covariance(self, i, j):
        """Return the block ``(3N + 1, 3N + 1)`` of forces and energy of geometries i and j."""
        n = self.positions[0].numel()
        total = torch.zeros(n + 1, n + 1, dtype=torch.float64)

        def scaled(geometry):
            values = self.scale * self.descriptor.values(geometry.view(1, -1, 3))[0]
            return values if self.mixing is None else self.mixing @ values

        left, right = self.positions[i].reshape(-1), self.positions[j].reshape(-1)
        for row in torch.as_tensor(self.table):

            def k(r, other, row=row):
                squared = (scaled(r) - scaled(other)[row]).square().sum()
                return self.kernel.derivative(0, squared)

            if float((scaled(left) - scaled(right)[row]).norm()) < 1e-9:
                total += self._coincident(scaled, left, right, row)
                continue
            total[:n, :n] += torch.func.jacrev(torch.func.jacrev(k, 0), 1)(left, right)
            total[:n, n] -= torch.func.grad(k, 0)(left, right)
            total[n, :n] -= torch.func.grad(k, 1)(left, right)
            total[n, n] += k(left, right)
        return total

    def _coincident(self, scaled, left, right, row):
        """Return the limit at equal features, where ``√u²`` cannot be differentiated."""
        n = len(left)
        block = torch.zeros(n + 1, n + 1, dtype=torch.float64)
        first = self.kernel.derivative(1, torch.zeros((), dtype=torch.float64))
        jacobians = [torch.func.jacrev(scaled)(geometry) for geometry in (left, right)]
        block[:n, :n] = -first * jacobians[0].T @ jacobians[1][row]
        block[n, n] = 1.0
        return block

    def expected(self):
        """Return the matrix in the operator's labels: forces in the reduced basis, energies."""
        count, n_motions = len(self.positions), self.basis.shape[3]
        rows = n_motions + int(self.energies)
        matrix = torch.zeros(count, rows, count, rows, dtype=torch.float64)
        for i in range(count):
            for j in range(count):
                block = self.covariance(i, j)
                left, right = (self._labels(self.basis[index]) for index in (i, j))
                matrix[i, :, j, :] = left.T @ block @ right
        return matrix.reshape(count * rows, count * rows)

    def _labels(self, basis):
        n = basis.shape[0] * 3
        labels = torch.zeros(n + 1, basis.shape[2] + int(self.energies), dtype=torch.float64)
        labels[:n, : basis.shape[2]] = basis.reshape(n, -1)
        if self.energies:
            labels[n, -1] = 1.0
        return labels
