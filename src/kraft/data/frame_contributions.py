"""What each atom contributes to predicted frames, to be written beside them."""

from __future__ import annotations

from dataclasses import dataclass

from kraft.core.typing import FloatArray


@dataclass(frozen=True, eq=False)
class FrameContributions:
    """Contributions of atoms to predictions; written to files, never read as reference data.

    Attributes
    ----------
    energies
        ``(B, N)`` contributions to the energies in eV, which add up to the energies less
        ``energy_offset``.
    strengths
        ``(B, N)`` norm of what each atom contributes to the forces on all atoms, in eV/Å.
    energy_offset
        In eV.
    forces
        ``(B, N, N, 3)`` the contributions to forces themselves in eV/Å, of the atom of the second
        axis to the force on the atom of the third; for archives, or None.
    """

    energies: FloatArray
    strengths: FloatArray
    energy_offset: float
    forces: FloatArray | None = None
