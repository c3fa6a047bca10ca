"""The linear system of a training as a study of preconditioners needs it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import MemoryLimitError
from kraft.core.memory import available_memory, format_bytes
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.data.dataset import Dataset
from kraft.descriptors import FeatureMap, InverseDistances
from kraft.kernels import KernelOperator
from kraft.linalg.arrays import Array
from kraft.linalg.dense_operator import DenseOperator
from kraft.linalg.panels import LowerPanels
from kraft.models.labels import Labels
from kraft.models.objective import TrainingArrays
from kraft.symmetry import find_permutations
from kraft.symmetry.group import identity, validate
from kraft.symmetry.orbits import feature_permutations

_PREDICTED_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class StudySystem:
    """``(K + λI) c = y`` of one training set.

    Attributes
    ----------
    molecule
        Name or formula.
    n_train, n_atoms, n_permutations
        Training geometries, atoms, and permutations in the kernel.
    kernel, length_scale, regularization
        Of the system.
    operator
        The matrix ``K`` in the basis of internal motions, matrix-free.
    right_hand_side
        ``(size,)`` force labels, divided by ``label_scale``.
    label_scale
        Standard deviation of the force components in eV/Å.
    feature_map
        What makes the features of the kernel.
    """

    molecule: str
    n_train: int
    n_atoms: int
    n_permutations: int
    kernel: str
    length_scale: float
    regularization: float
    operator: KernelOperator
    right_hand_side: Tensor
    label_scale: float
    feature_map: FeatureMap

    @property
    def n_labels(self) -> int:
        """Force components ``n = 3NM``, the size that the papers quote."""
        return 3 * self.n_atoms * self.n_train

    @property
    def size(self) -> int:
        """Rows of the reduced system, without the rigid motions of each geometry."""
        return self.operator.size

    @property
    def fingerprint(self) -> str:
        """Short hash of all that determines the system."""
        content = hashlib.sha256(
            f"{self.kernel} {self.length_scale!r} {self.regularization!r} "
            f"{self.n_permutations}".encode()
        )
        for part in (self.right_hand_side, self.operator.geometries.features.values):
            content.update(part.cpu().contiguous().numpy().tobytes())
        return content.hexdigest()[:12]

    def stored(self, *, max_memory: int | None = None, progress: Progress = silent) -> StoredKernel:
        """Return the matrix itself, in memory: products with many vectors are then fastest.

        Raises
        ------
        MemoryLimitError
            When it does not fit in ``max_memory`` bytes (by default, what is available).
        """
        needed = 8 * self.size**2
        allowed = available_memory(self.operator.device) if max_memory is None else max_memory
        if needed > allowed:
            raise MemoryLimitError(
                f"The kernel matrix of {self.size} rows takes {format_bytes(needed)}, but "
                f"{format_bytes(allowed)} may be used. Take fewer geometries or allow more memory."
            )
        whole = _WholeMatrix(self.size, dtype=self.operator.dtype, device=self.operator.device)
        self.operator.assemble(whole, progress)
        return StoredKernel(whole.symmetric_(), self.operator)

    def force_mae(self, coefficients: Tensor, test: Dataset) -> float:
        """Return the mean absolute error of force components on a test set in eV/Å."""
        errors = np.abs(self.predict(coefficients, test.positions) - test.forces)
        return float(errors.mean())

    def predict(self, coefficients: Tensor, positions: FloatArray) -> FloatArray:
        """Return the forces ``(B, N, 3)`` in eV/Å that a solution predicts."""
        expansion = self.operator.expansion(coefficients)
        descriptor = self.operator.geometries.descriptor
        parts = []
        for start in range(0, len(positions), _PREDICTED_AT_ONCE):
            some = torch.tensor(positions[start : start + _PREDICTED_AT_ONCE])
            raw = descriptor.evaluate(some.to(self.operator.device))
            contracted = expansion(self.feature_map.values(raw.values))
            pulls = self.feature_map.pull(contracted.gradients)
            forces = descriptor.jacobian_transpose_product(raw, pulls)
            parts.append(self.label_scale * forces.cpu().numpy())
        return np.concatenate(parts)


class StoredKernel(DenseOperator):
    """A kernel matrix in memory that still knows the Cartesian directions of its rows."""

    def __init__(self, matrix: Tensor, kernel: KernelOperator) -> None:
        super().__init__(matrix, kernel.block_size)
        self._kernel = kernel

    @property
    def cartesian_basis(self) -> Array:
        """Directions ``(M, N, 3, r)`` of the rows, for preconditioners that know of atoms."""
        return self._kernel.geometries.basis.cpu().numpy()


def study_system(
    dataset: Dataset,
    *,
    kernel: str = "matern52",
    length_scale: float = 10.0,
    regularization: float = 1e-10,
    permutations: Literal["auto"] | IntArray | None = "auto",
    max_permutations: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> StudySystem:
    """Set up the system of a training set with forces as labels.

    Parameters
    ----------
    dataset
        The training geometries.
    kernel, length_scale, regularization
        Of the system; the defaults are the settings of paper 004.
    permutations
        ``"auto"`` searches the symmetries in the training geometries, None uses none, or a group
        ``(S, N)``, the identity first.
    max_permutations
        Upper bound on those found.
    seed
        Of the search for symmetries.
    progress
        Told about the search.
    """
    group = _group(dataset, permutations, max_permutations, seed, progress)
    cell = None if dataset.cell is None else torch.tensor(dataset.cell)
    descriptor = InverseDistances(dataset.n_atoms, cell=cell, device="cpu")
    arrays = TrainingArrays(
        descriptor=descriptor,
        positions=torch.tensor(dataset.positions),
        labels=Labels.from_dataset(dataset),
        feature_permutations=feature_permutations(group),
        feature_weights=np.ones(descriptor.n_features),
    )
    operator, feature_map = arrays.operator(kernel, length_scale)
    return StudySystem(
        molecule=dataset.provenance.name or dataset.formula,
        n_train=len(dataset),
        n_atoms=dataset.n_atoms,
        n_permutations=len(group),
        kernel=kernel,
        length_scale=length_scale,
        regularization=regularization,
        operator=operator,
        right_hand_side=arrays.labels.vector(operator),
        label_scale=arrays.labels.scale,
        feature_map=feature_map,
    )


def _group(
    dataset: Dataset,
    permutations: Literal["auto"] | IntArray | None,
    max_permutations: int | None,
    seed: int,
    progress: Progress,
) -> IntArray:
    if permutations is None:
        return identity(dataset.n_atoms)[None]
    if not isinstance(permutations, str):
        return validate(permutations, dataset.atomic_numbers)
    found = find_permutations(
        dataset.positions,
        dataset.atomic_numbers,
        cell=dataset.cell,
        max_permutations=max_permutations,
        seed=seed,
        progress=progress,
    )
    return found.permutations


class _WholeMatrix(LowerPanels):
    """Panels that are one full matrix, so that nothing needs to be copied to have it whole."""

    def __init__(self, size: int, *, dtype: torch.dtype, device: torch.device) -> None:
        self.size = self.width = size
        self.starts = [0]
        self.panels = [torch.empty(size, size, dtype=dtype, device=device)]

    def symmetric_(self, width: int = 1024) -> Tensor:
        """Write the lower triangle into the upper one, in place, and return the matrix."""
        matrix = self.panels[0]
        for start in range(0, self.size, width):
            stop = min(start + width, self.size)
            square = matrix[start:stop, start:stop]
            square.copy_(square.tril() + square.tril(-1).T)
            matrix[start:stop, stop:] = matrix[stop:, start:stop].T
        return matrix
