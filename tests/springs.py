"""A water molecule of three springs: energies and forces in closed form, for tests of dynamics."""

from __future__ import annotations

import numpy as np

from kraft.core.typing import FloatArray
from kraft.simulation.integrators import Integrator
from kraft.simulation.replicas import Replicas
from kraft.simulation.system import System

NUMBERS = np.array([8, 1, 1])
REST = np.array([[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]])
STIFFNESS = np.array([30.0, 30.0, 8.0])  # eV/Å²: O-H, O-H, H-H
FIRST, SECOND = np.triu_indices(3, 1)
LENGTHS = np.linalg.norm(REST[FIRST] - REST[SECOND], axis=1)


def springs(positions: FloatArray, /) -> tuple[FloatArray, FloatArray]:
    """Return energies ``(R,)`` and forces ``(R, 3, 3)``."""
    vectors = positions[:, FIRST] - positions[:, SECOND]
    lengths = np.sqrt((vectors * vectors).sum(axis=2))
    stretches = lengths - LENGTHS
    energies = 0.5 * (STIFFNESS * stretches * stretches).sum(axis=1)
    pulls = (STIFFNESS * stretches / lengths)[:, :, None] * vectors
    forces = np.zeros_like(positions)
    for pair, (first, second) in enumerate(zip(FIRST, SECOND, strict=True)):
        forces[:, first] -= pulls[:, pair]
        forces[:, second] += pulls[:, pair]
    return energies, forces


def water_replicas(
    integrator: Integrator,
    n: int = 1,
    *,
    temperature: float = 300.0,
    seed: int = 0,
    forces=springs,
    numbers=None,
) -> Replicas:
    """Return replicas that start at rest length."""
    starts = np.repeat(REST[None], n, axis=0)
    system = System.of(NUMBERS, starts, keeps_momentum=integrator.keeps_momentum)
    return Replicas.start(
        system,
        integrator,
        forces,
        starts,
        temperature=temperature,
        seed=seed,
        numbers=numbers,
    )


def run(replicas: Replicas, n_steps: int) -> Replicas:
    for _ in range(n_steps):
        replicas.advance()
    return replicas
