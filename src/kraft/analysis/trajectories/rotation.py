"""How two fragments of a molecule turn against each other: the angle Phi of paper 000."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from kraft.analysis.trajectories.alignment import rotation_angles, superpose
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray

_MIN_EXTENT = 1e-3
"""Å: a fragment whose second principal extent is smaller is linear and has no orientation."""


@dataclass(frozen=True, eq=False)
class RelativeRotation:
    """Rotation of a fragment as seen from another one, since the reference.

    Attributes
    ----------
    angles
        ``(T,)`` degrees from 0 to 180: the angle of the rotation matrix.
    twists
        ``(T,)`` degrees: the part of the rotation about the axis, continuous in time where frames
        are less than half a turn apart.
    axis
        ``(3,)`` unit vector, fixed in the first fragment, as it is oriented in the reference.
    rotations
        ``(T, 3, 3)``.
    """

    angles: FloatArray
    twists: FloatArray
    axis: FloatArray
    rotations: FloatArray


def relative_rotations(
    positions: ArrayLike, first: ArrayLike, second: ArrayLike, reference: ArrayLike
) -> FloatArray:
    """Return rotations ``(T, 3, 3)`` of the second fragment relative to the first.

    Each fragment is laid upon the reference by itself; the identity says that both have turned
    alike. Axes are those of the reference.

    Parameters
    ----------
    positions
        ``(T, N, 3)``.
    first, second
        Numbers of the atoms of the fragments, at least three each.
    reference
        ``(N, 3)``, the start as a rule.

    Raises
    ------
    OptionError
        When fragments overlap or a fragment is too small or linear, so that it has no orientation.
    """
    moving, fixed = np.asarray(positions, np.float64), np.asarray(reference, np.float64)
    parts = [np.asarray(part) for part in (first, second)]
    if np.intersect1d(parts[0], parts[1]).size:
        raise OptionError("Expected two fragments without common atoms.")
    turned = []
    for name, part in zip(("first", "second"), parts, strict=True):
        centered = fixed[part] - fixed[part].mean(axis=0)
        extents = np.linalg.svd(centered, compute_uv=False)
        if len(part) < 3 or extents[1] < _MIN_EXTENT:
            raise OptionError(
                f"The {name} fragment has {len(part)} atoms in a line: it has no orientation. "
                "Choose at least three atoms that are not in a line."
            )
        turned.append(superpose(moving[:, part], fixed[part]).rotations)
    # superpose gives rotations to the reference: the motion of a fragment is their transpose
    result: FloatArray = np.einsum("txy,tzy->txz", turned[0], turned[1])
    return result


def describe_rotations(rotations: FloatArray, axis: ArrayLike) -> RelativeRotation:
    """Return angles and twists of rotations ``(T, 3, 3)`` about an axis ``(3,)``.

    The twist is that of the swing-twist decomposition, unwrapped over time.

    Raises
    ------
    OptionError
        When the axis has no length.
    """
    direction = np.asarray(axis, dtype=np.float64)
    size = float(np.linalg.norm(direction))
    if direction.shape != (3,) or not size > 0.0:
        raise OptionError(f"Expected an axis of three numbers, not all zero, got {axis!r}.")
    direction = direction / size
    quaternions = Rotation.from_matrix(rotations).as_quat()
    halves = np.arctan2(quaternions[:, :3] @ direction, quaternions[:, 3])
    twists = np.degrees(np.unwrap(2.0 * halves))
    start = twists[0] - (np.mod(twists[0] + 180.0, 360.0) - 180.0)
    return RelativeRotation(rotation_angles(rotations), twists - start, direction, rotations)


def long_axis(positions: ArrayLike) -> FloatArray:
    """Return the unit vector ``(3,)`` along which atoms ``(N, 3)`` are spread most.

    Its largest component is positive.

    Raises
    ------
    OptionError
        When the spread is the same along several directions, as for a ball.
    """
    points = np.asarray(positions, dtype=np.float64)
    _, extents, vectors = np.linalg.svd(points - points.mean(axis=0))
    if len(points) < 2 or extents[0] < 1.05 * extents[1]:
        raise OptionError(
            "This fragment has no long axis: it extends alike in several directions. Give the "
            "axis by three numbers."
        )
    axis: FloatArray = vectors[0] * np.sign(vectors[0][np.abs(vectors[0]).argmax()])
    return axis
