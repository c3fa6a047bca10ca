"""Random numbers of replicas: a stream of its own for each, whose state can be kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kraft.core.random import generator
from kraft.core.typing import FloatArray


class Noise:
    """Random numbers for replicas, so that what one draws does not depend on the others.

    Parameters
    ----------
    generators
        One for each replica.
    """

    def __init__(self, generators: Iterable[np.random.Generator]) -> None:
        self._generators = tuple(generators)

    @classmethod
    def seeded(cls, seed: int, replicas: Iterable[int]) -> Noise:
        """Return the streams of these replicas (numbers from 0) for a seed."""
        return cls(generator(seed, f"replica {replica}") for replica in replicas)

    @classmethod
    def restored(cls, states: Sequence[Mapping[str, Any]]) -> Noise:
        """Return the streams that go on from these states."""
        generators = []
        for state in states:
            random = np.random.default_rng()
            random.bit_generator.state = state
            generators.append(random)
        return cls(generators)

    @property
    def states(self) -> tuple[Mapping[str, Any], ...]:
        """Where each stream is, in JSON's types."""
        return tuple(random.bit_generator.state for random in self._generators)

    def rows(self, kept: Sequence[int]) -> Noise:
        """Return the streams of some of the replicas, which go on from here."""
        return Noise(self._generators[row] for row in kept)

    def normal(self, *shape: int) -> FloatArray:
        """Return ``(R, *shape)`` standard normal numbers."""
        drawn = np.empty((len(self._generators), *shape))
        for row, random in enumerate(self._generators):
            random.standard_normal(out=drawn[row, ...] if shape else drawn[row : row + 1])
        return drawn

    def chi_square(self, degrees: int) -> FloatArray:
        """Return ``(R,)`` sums of ``degrees`` squares of standard normal numbers."""
        gammas = [random.standard_gamma(0.5 * degrees) for random in self._generators]
        return 2.0 * np.array(gammas)
