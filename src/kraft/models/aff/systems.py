"""The linear systems of all atom sets: what they share, and working on them side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from kraft.core.typing import FloatArray, IntArray
from kraft.descriptors import Descriptor
from kraft.kernels.atom_geometries import FEATURE, AtomGeometries, LowerTiles
from kraft.kernels.atom_sets import AtomSet, AtomSetOperator, tile_shape
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import tensor
from kraft.linalg.operators import assembled_panels
from kraft.linalg.panels import NotPositiveDefiniteError, PanelCholesky
from kraft.models.parameters import symmetric_mean
from kraft.symmetry.orbits import feature_permutations

SIDE_BY_SIDE_LABELS = 5000
"""Systems of up to so many labels are solved side by side, larger ones one by one with all threads.
"""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class AtomizedArrays:
    """Training geometries and forces of an atomized force field, on one device.

    Attributes
    ----------
    descriptor
        The descriptor.
    geometries
        Weighted, centered features of the ``M`` geometries, by atoms.
    forces
        ``(M, N, 3)`` in eV/Å.
    sets
        The atom sets.
    weights, center
        ``(D,)`` weights and centers of the features.
    """

    descriptor: Descriptor
    geometries: AtomGeometries
    forces: Tensor
    sets: tuple[AtomSet, ...]
    weights: Tensor
    center: Tensor

    @classmethod
    def of(
        cls,
        descriptor: Descriptor,
        positions: Tensor,
        forces: Tensor,
        permutations: IntArray,
        sets: Sequence[IntArray],
        weights: FloatArray,
    ) -> AtomizedArrays:
        """Compute the features of positions ``(M, N, 3)`` in Å."""
        values = descriptor.values(positions).cpu().numpy()
        mean = symmetric_mean(values, feature_permutations(permutations))
        center, scale = (torch.as_tensor(part, device=positions.device) for part in (mean, weights))
        geometries = AtomGeometries.of(descriptor, positions, scale, center, permutations)
        every = tuple(AtomSet(atoms, permutations) for atoms in sets)
        return cls(descriptor, geometries, forces, every, scale, center)

    @property
    def n_train(self) -> int:
        """Number of training geometries."""
        return len(self.geometries)

    @property
    def n_permutations(self) -> int:
        """Number of permutations."""
        return len(self.geometries.permutations)

    @property
    def n_parallel(self) -> int:
        """Number of sets that may be worked on at the same time."""
        return torch.get_num_threads() if self.forces.device.type == "cpu" else 1

    def subset(self, chosen: IntArray) -> AtomizedArrays:
        """Return some of the geometries."""
        rows = torch.as_tensor(chosen, device=self.forces.device)
        return replace(self, geometries=self.geometries.subset(chosen), forces=self.forces[rows])

    def like(self, positions: Tensor) -> AtomGeometries:
        """Return the features of other positions ``(B, N, 3)`` in Å."""
        return AtomGeometries.of(
            self.descriptor, positions, self.weights, self.center, self.geometries.permutations
        )

    def labels(self, atom_set: AtomSet) -> Tensor:
        """Return the forces on the atoms of a set, ``(3 l M,)``, geometry by geometry."""
        atoms = torch.as_tensor(atom_set.atoms, device=self.forces.device)
        return self.forces.index_select(1, atoms).reshape(-1)

    def mean_diagonal(self, kernel: RadialKernel, length_scale: float) -> float:
        """Return the mean prior variance of a force component, but for its own permuted copies."""
        slopes = tensor(self.geometries.stacked[:, :FEATURE])
        zero = slopes.new_zeros(())
        curvature = -float(kernel.derivative(1, zero)) * kernel.scale(length_scale) ** 2
        return curvature * float(slopes.square().sum(dim=3).mean())

    def tiles(self, *, keep: bool) -> LowerTiles:
        """Return the pairs of geometries, whose distances all sets share."""
        largest = max(len(atom_set.atoms) for atom_set in self.sets)
        return LowerTiles(self.geometries, tile_shape(largest), keep=keep)


def factorized(
    operator: AtomSetOperator, regularization: float, *, concurrent: bool
) -> PanelCholesky | None:
    """Return the Cholesky factor of ``A + λI``; None where it is not positive definite."""
    panels = assembled_panels(operator)
    panels.add_to_diagonal(regularization)
    try:
        return panels.factorize_(concurrent=concurrent)
    except NotPositiveDefiniteError:
        return None


def side_by_side(
    work: Callable[[_Item, bool], _Result],
    items: Sequence[_Item],
    sizes: Sequence[int],
    n_parallel: int,
) -> list[_Result]:
    """Call ``work(item, concurrent)`` for every item and return the results in order.

    Items of a small size run in threads, one each, ``n_parallel`` at a time; then the large ones
    one by one, with the threads of the libraries.
    """
    n_threads = torch.get_num_threads()
    small = [index for index, size in enumerate(sizes) if size <= SIDE_BY_SIDE_LABELS]
    small.sort(key=lambda index: -sizes[index])
    if min(n_parallel, len(small)) < 2:
        return [work(item, False) for item in items]
    results: dict[int, _Result] = {}
    torch.set_num_threads(1)  # of the threads that start now
    try:
        with threadpool_limits(limits=1), ThreadPoolExecutor(n_parallel) as executor:
            done = executor.map(lambda index: work(items[index], True), small)
            results.update(zip(small, done, strict=True))
    finally:
        torch.set_num_threads(n_threads)
    for index in range(len(items)):
        if index not in results:
            results[index] = work(items[index], False)
    return [results[index] for index in range(len(items))]
