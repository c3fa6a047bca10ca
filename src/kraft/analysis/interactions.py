"""How a force field reads interactions between atoms (paper 003, figures 1, 3, 5 and S6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kraft.analysis.contributions import atom_contributions
from kraft.core.errors import OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry import pair_distances
from kraft.models.force_field import ForceField
from kraft.models.query import checked_positions
from kraft.symmetry.orbits import pair_indices

_FRAMES_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class InteractionMap:
    """Contributions of atoms to the forces on others, beside their distances, frame by frame.

    Attributes
    ----------
    contributions
        ``(B, N, N)`` in eV/Å: ``[b, k, l]`` is ``F_l^k`` of paper 003 (eq. 3), the norm of what the
        coefficients of atom ``k`` contribute to the force on atom ``l``.
    distances
        ``(B, N, N)`` in Å.
    """

    contributions: FloatArray
    distances: FloatArray

    @property
    def n_frames(self) -> int:
        """Number ``B`` of frames."""
        return len(self.contributions)

    @property
    def n_atoms(self) -> int:
        """Number ``N`` of atoms."""
        return int(self.contributions.shape[1])

    @property
    def mean_contributions(self) -> FloatArray:
        """``(N, N)`` mean over the frames in eV/Å: the interaction map (figures 1 and 3)."""
        mean: FloatArray = self.contributions.mean(axis=0)
        return mean

    @property
    def mean_distances(self) -> FloatArray:
        """``(N, N)`` mean over the frames in Å: the map beside it."""
        mean: FloatArray = self.distances.mean(axis=0)
        return mean

    @property
    def pair_contributions(self) -> FloatArray:
        """``(B, N(N-1)/2)`` mean of ``F_l^k`` and ``F_k^l`` for each pair in eV/Å."""
        first, second = pair_indices(self.n_atoms)
        both = self.contributions[:, first, second] + self.contributions[:, second, first]
        half: FloatArray = 0.5 * both
        return half

    @property
    def pair_distances(self) -> FloatArray:
        """``(B, N(N-1)/2)`` distances of the pairs in Å."""
        first, second = pair_indices(self.n_atoms)
        found: FloatArray = self.distances[:, first, second]
        return found


def interaction_map(
    force_field: ForceField, positions: ArrayLike, *, progress: Progress = silent
) -> InteractionMap:
    """Return the contributions of all atoms to the forces on all atoms at some frames.

    With symmetries, atom ``k`` stands for whichever atom of a permuted copy of a training geometry
    is in its place, so the map is that of the non-symmetric model of all the copies.

    Parameters
    ----------
    force_field
        An sGDML model.
    positions
        ``(B, N, 3)`` in Å.
    progress
        Told about frames.

    Raises
    ------
    GeometryError
        When the shape does not fit the molecule, a position is not finite or atoms coincide.
    OptionError
        When the model has no coefficients of atoms.
    """
    n_atoms = len(force_field.atomic_numbers)
    frames = checked_positions(positions, n_atoms).reshape(-1, n_atoms, 3)
    contributions = np.empty((len(frames), n_atoms, n_atoms))
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        progress("interactions", start, len(frames))
        some = slice(start, start + _FRAMES_AT_ONCE)
        contributions[some] = atom_contributions(
            force_field, frames[some], partition="coefficients"
        ).force_norms
    progress("interactions", len(frames), len(frames))
    first, second = pair_indices(n_atoms)
    distances = np.zeros((len(frames), n_atoms, n_atoms))
    found = pair_distances(frames, force_field.parameters.cell)
    distances[:, first, second] = distances[:, second, first] = found
    return InteractionMap(contributions, distances)


@dataclass(frozen=True, eq=False)
class DistanceTrends:
    """How the contribution of each pair follows its distance (paper 003, figure S6).

    Attributes
    ----------
    slopes
        ``(P,)`` of the straight lines through contribution (eV/Å) against distance (Å), in eV/Å².
    r_squared
        ``(P,)`` shares of the variance of the contributions that these lines explain: near one for
        a "linear" pair, near zero for a "stochastic" one.
    mean_distances, mean_contributions
        ``(P,)`` in Å and eV/Å.
    """

    slopes: FloatArray
    r_squared: FloatArray
    mean_distances: FloatArray
    mean_contributions: FloatArray

    def share_linear(self, threshold: float = 0.5) -> float:
        """Return the share of pairs with a coefficient of determination above the threshold."""
        return float((self.r_squared > threshold).mean())

    def decay_exponent(self, threshold: float = 0.5) -> float | None:
        """Return the power of the distance with which contributions of linear pairs decay.

        About -2 where Coulomb interactions prevail; None for fewer than three such pairs.
        """
        chosen = (self.r_squared > threshold) & (self.mean_contributions > 0.0)
        if chosen.sum() < 3:
            return None
        x, y = np.log(self.mean_distances[chosen]), np.log(self.mean_contributions[chosen])
        return float(np.polyfit(x, y, 1)[0])


def distance_trends(found: InteractionMap, features: IntArray | None = None) -> DistanceTrends:
    """Fit a line through contribution against distance for each pair of atoms.

    Parameters
    ----------
    found
        At least three frames.
    features
        ``(P,)`` the pairs to look at, in the order of ``numpy.triu_indices(N, 1)``; all when None.

    Raises
    ------
    OptionError
        When there are fewer than three frames.
    """
    if found.n_frames < 3:
        raise OptionError(f"Expected at least 3 frames to fit lines to, got {found.n_frames}.")
    x, y = found.pair_distances, found.pair_contributions
    if features is not None:
        x, y = x[:, features], y[:, features]
    from_mean_x, from_mean_y = x - x.mean(axis=0), y - y.mean(axis=0)
    squares = (from_mean_x**2).sum(axis=0)
    products = (from_mean_x * from_mean_y).sum(axis=0)
    spread = (from_mean_y**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(squares > 0.0, products / squares, 0.0)
        varies = (squares > 0.0) & (spread > 0.0)
        explained = np.where(varies, products**2 / (squares * spread), 0.0)
    return DistanceTrends(slopes, explained, x.mean(axis=0), y.mean(axis=0))
