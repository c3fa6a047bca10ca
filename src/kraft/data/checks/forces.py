"""Checks of the forces alone: what of them no internal force field can represent."""

from __future__ import annotations

import numpy as np

from kraft.core.typing import FloatArray
from kraft.data.checks.report import Finding
from kraft.data.dataset import Dataset

_FLOOR = 0.01
"""Share of the typical force above which net force or torque is worth a warning."""


def check_net_forces(dataset: Dataset) -> list[Finding]:
    """Find net forces and net torques (warnings).

    A force field of interatomic distances exerts neither, so what the reference has of them is a
    floor to the error that training cannot get below. Torque has no meaning in a periodic cell.
    """
    scale = _rms(dataset.forces)
    if scale == 0.0:
        return [
            Finding(
                "warning",
                "zero-forces",
                "All forces are zero, so there is nothing to learn from.",
                "Check that the forces were read under the right key (--forces-key).",
            )
        ]
    net = np.broadcast_to(dataset.forces.mean(axis=1, keepdims=True), dataset.forces.shape)
    findings = _judge(dataset, net, scale, "net-force", "net force", "drift of the whole molecule")
    if dataset.cell is None:
        findings += _judge(
            dataset,
            rotational_part(dataset.positions, dataset.forces - net),
            scale,
            "net-torque",
            "net torque",
            "rotation of the whole molecule",
        )
    return findings


def rotational_part(positions: FloatArray, forces: FloatArray) -> FloatArray:
    """Return the part of the forces that is a rigid rotation, for unit masses.

    With the torque ``T = sum_a r_a x f_a`` about the centroid and the inertia tensor ``I``, it is
    ``(I^-1 T) x r_a``: the projection of the forces on the three rotations.

    Parameters
    ----------
    positions, forces
        ``(B, N, 3)``, any units.

    Returns
    -------
    part
        ``(B, N, 3)`` in the unit of the forces.
    """
    centered = positions - positions.mean(axis=1, keepdims=True)
    torque = np.cross(centered, forces).sum(axis=1)
    second_moment = np.einsum("bai,baj->bij", centered, centered)
    trace = np.trace(second_moment, axis1=1, axis2=2)
    inertia = trace[:, None, None] * np.eye(3) - second_moment
    inverse = np.linalg.pinv(inertia, rcond=1e-10, hermitian=True)
    spin = np.einsum("bij,bj->bi", inverse, torque)
    part: FloatArray = np.cross(spin[:, None, :], centered)
    return part


def _judge(
    dataset: Dataset, part: FloatArray, scale: float, code: str, name: str, meaning: str
) -> list[Finding]:
    size = _rms(part)
    per_frame = np.sqrt(np.mean(part**2, axis=(1, 2)))
    worst = int(per_frame.argmax())
    if size <= _FLOOR * scale:
        return []
    factor, label = dataset.units.force_factor, dataset.units.force_label
    return [
        Finding(
            "warning",
            code,
            f"The forces have a {name} ({meaning}) of {size / factor:.3g} {label} per component "
            f"(RMS), {100 * size / scale:.2g} % of the forces themselves; the largest is "
            f"{per_frame[worst] / factor:.3g} {label} in frame {worst}. A force field has none, so "
            "this is a floor to its error.",
            "Check for an external field, a fixed atom or a loose convergence or grid in the "
            "reference calculations.",
            tuple(np.flatnonzero(per_frame > 10 * _FLOOR * scale).tolist()),
        )
    ]


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
