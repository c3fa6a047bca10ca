"""How sure predicted frames are, to be written beside them."""

from __future__ import annotations

from dataclasses import dataclass

from kraft.core.typing import FloatArray


@dataclass(frozen=True, eq=False)
class FrameUncertainty:
    """Standard deviations of predictions; written to files, never read as reference data.

    Attributes
    ----------
    forces
        ``(B, N, 3)`` standard deviations of the forces in eV/Å.
    energies
        ``(B,)`` those of the energies in eV, or None without energies.
    novelty
        ``(B,)`` how far the geometries are from the training geometries, about 1 near them.
    """

    forces: FloatArray
    energies: FloatArray | None
    novelty: FloatArray
