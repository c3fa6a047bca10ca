"""A force field whose masked forces can be had for all orbits of features at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import torch
from torch import Tensor

from kraft.analysis.masking.classes import MaskClass, mask_classes
from kraft.analysis.masking.interpolation import add_interpolated, n_nodes
from kraft.analysis.masking.tile import Buffers, ClassPart, Expansion, Tile, make_tile
from kraft.core.typing import FloatArray, IntArray
from kraft.kernels.threads import map_in_threads
from kraft.models.evaluator import Evaluator

CHUNK_ELEMENTS = 131_072
"""Kernel entries of some masks worked on at once: their arrays should stay in the cache."""

TILE_ELEMENTS = 32_768
"""Pairs of training geometry and permutation in a tile, at most."""


class MaskedForces:
    """A force field whose masked forces can be had for all orbits of features at once.

    Where the metric mixes features, those of the kernel are masked, ``z_d`` after mixing.

    Parameters
    ----------
    evaluator
        Of the force field; computes on its device, always in float64.
    labels
        ``(D,)`` the orbit, ``0 .. O-1``, of each feature.
    """

    def __init__(self, evaluator: Evaluator, labels: IntArray) -> None:
        parameters = evaluator.parameters
        self._descriptor, self._device = evaluator.descriptor, evaluator.device
        self.n_masks = int(labels.max()) + 1
        self._map = evaluator.feature_map
        self._local = threading.local()
        basis, self.classes = mask_classes(parameters.feature_permutations, labels, self._device)
        norm = parameters.radial_kernel.norm
        features = self._map.values(self._tensor(parameters.training_descriptors))
        coefficients = self._map.push(self._tensor(parameters.feature_coefficients)) / norm
        epsilon = parameters.energy_coefficients
        self._expansion = Expansion(
            parameters.radial_kernel,
            features.T.contiguous(),
            coefficients.T.contiguous(),
            None if epsilon is None else self._tensor(epsilon) / norm,
            basis,
        )

    def _buffers(self) -> Buffers:
        """Return the memory that the calling thread works in."""
        if not hasattr(self._local, "buffers"):
            self._local.buffers = Buffers(self._expansion.features)
        found: Buffers = self._local.buffers
        return found

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.tensor(array, dtype=torch.float64, device=self._device)

    def changes(self, positions: Tensor) -> Iterator[Tensor]:
        """Yield, for each of the positions ``(B, N, 3)`` in Å, what the masks change.

        Yields
        ------
        Tensor
            ``(O, 3N)``: forces with the mask less those without, in eV/Å.
        """
        n = positions[0].numel()
        identity = torch.eye(n, dtype=torch.float64, device=self._device).view(1, n // 3, 3, n)

        def change(geometry: Tensor) -> Tensor:
            with torch.inference_mode():
                features = self._descriptor.evaluate(geometry[None])
                query = self._map.values(features.values[0])
                jacobian = self._descriptor.jacobian_product(features, identity)[0]
                return self._change(query, self._map.push_columns(jacobian))

        yield from map_in_threads(change, positions, threaded=self._device.type == "cpu")

    def _change(self, query: Tensor, jacobian: Tensor) -> Tensor:
        """Return the changes ``(O, 3N)`` at kernel features ``(D,)`` with Jacobian ``(D, 3N)``."""
        change = jacobian.new_zeros(self.n_masks, jacobian.shape[1])
        expansion, buffers = self._expansion, self._buffers()
        n_train = expansion.features.shape[1]
        width = max(16, TILE_ELEMENTS // max(64, expansion.n_permutations))
        for start in range(0, n_train, width):
            columns = slice(start, min(start + width, n_train))
            tile = make_tile(expansion, self.classes, query, jacobian, columns, buffers)
            for c, part in zip(self.classes, tile.parts, strict=True):
                count = n_nodes(tile, c, part)
                if count is None:
                    _add_all(change, c, tile, part)
                else:
                    add_interpolated(change, c, tile, part, count)
        return change


def _add_all(change: Tensor, c: MaskClass, tile: Tile, part: ClassPart) -> None:
    """Add the tile's contributions to the changes by the masks of a class, mask by mask."""
    n_masks = len(c.masks)
    chunk = max(1, CHUNK_ELEMENTS // tile.squared.numel())
    for start in range(0, n_masks, chunk):
        chosen = slice(start, min(start + chunk, n_masks))
        t, w = (c.of_permutations(x[:, chosen]) for x in (part.squares, part.projections))
        with_v, with_d = tile.weights(tile.squared[:, None] - t, tile.projected[:, None] - w)
        summed = c.sum_permutations(with_v), c.sum_permutations(with_d)
        tile.remove_rows(change, c, part, chosen, summed)
        with_v -= tile.weights_v[:, None]
        with_d -= tile.weights_d[:, None]
        change.index_add_(0, c.masks[chosen], tile.forces(with_v, with_d))
