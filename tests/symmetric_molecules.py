"""Small molecules for the tests of symmetry, made in code."""

from __future__ import annotations

import numpy as np

from kraft.core.typing import AnyArray, FloatArray, IntArray

METHANE = (
    np.array([6, 1, 1, 1, 1]),
    np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.63,
)
WATER = (np.array([8, 1, 1]), np.array([[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]]))
AMMONIA = (
    np.array([7, 1, 1, 1]),
    np.array([[0, 0, 0.38], [0.94, 0, 0], [-0.47, 0.81, 0], [-0.47, -0.81, 0]]),
)
CARBON_DIOXIDE = (np.array([6, 8, 8]), np.array([[0, 0, 0], [0, 0, 1.16], [0, 0, -1.16]]))
HYDROGEN_CYANIDE = (np.array([1, 6, 7]), np.array([[0, 0, -1.06], [0, 0, 0], [0, 0, 1.15]]))
ETHENE = (
    np.array([6, 6, 1, 1, 1, 1]),
    np.array(
        [
            [0.67, 0, 0],
            [-0.67, 0, 0],
            [1.24, 0.92, 0],
            [1.24, -0.92, 0],
            [-1.24, 0.92, 0],
            [-1.24, -0.92, 0],
        ]
    ),
)


def chiral_rotor(angles: AnyArray) -> tuple[IntArray, FloatArray]:
    """CH3-CHFCl with the methyl group turned by each of ``angles`` (radians)."""
    numbers = np.array([6, 6, 1, 9, 17, 1, 1, 1])
    body = np.array([[0, 0, 0], [0, 0, 1.52]], dtype=float)
    turns = np.deg2rad([0.0, 120.0, 240.0])
    lengths = np.array([1.09, 1.38, 1.78])
    around = np.stack([np.sin(1.91) * np.cos(turns), np.sin(1.91) * np.sin(turns)], axis=1)
    rest = np.column_stack([around * lengths[:, None], 1.52 - np.cos(1.91) * lengths])
    frames = []
    for angle in np.asarray(angles, dtype=float):
        phase = turns + np.pi / 3 + angle
        methyl = np.column_stack(
            [
                1.03 * np.cos(phase),
                1.03 * np.sin(phase),
                np.full(3, -0.36),
            ]
        )
        frames.append(np.vstack([body, rest, methyl]))
    return numbers, np.stack(frames)


def shaken(
    geometry: FloatArray,
    n_frames: int,
    *,
    noise: float = 0.04,
    permutations: IntArray | None = None,
    mirror: bool = False,
    seed: int = 0,
) -> FloatArray:
    """Copies of a geometry: random noise (Å), permutation, rotation and, perhaps, reflection."""
    random = np.random.default_rng(seed)
    frames = np.broadcast_to(geometry, (n_frames, *geometry.shape[-2:])).copy()
    frames += noise * random.standard_normal(frames.shape)
    for k in range(n_frames):
        if permutations is not None:
            frames[k] = frames[k][permutations[random.integers(len(permutations))]]
        rotation = np.linalg.qr(random.standard_normal((3, 3)))[0]
        rotation *= np.sign(np.linalg.det(rotation))
        if mirror and random.random() < 0.5:
            rotation = -rotation
        frames[k] = frames[k] @ rotation
    return frames
