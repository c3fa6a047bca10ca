r"""Feature functions: how a distance ``r`` between two atoms becomes a feature ``x = f(r)``.

All are smooth and fall with the distance, so that near pairs have large features. What derivatives
by positions need (`docs/theory.md`, eq. 1) is ``-f'(r)/r``, the *pull*, and the second derivative;
with ``s = r_a - r_b``,

    ∂x/∂r_a = -pull s,      ∂²x/∂r_a∂r_a = [(f'' + pull)/r²] s sᵀ - pull I.

Arguments are NumPy arrays or tensors of any shape; tensors can be differentiated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from kraft.core.errors import OptionError
from kraft.linalg.arrays import Array, namespace


class FeatureFunction(ABC):
    """A smooth, falling function of a distance ``r > 0`` in Å.

    Attributes
    ----------
    name
        In model files and on the command line.
    formula
        For people.
    unit
        Of the feature, and of length scales; empty without any.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    unit: ClassVar[str]

    @abstractmethod
    def value(self, distances: Array) -> Array:
        """Return ``f(r)``."""

    @abstractmethod
    def first(self, distances: Array) -> Array:
        """Return ``f'(r)``."""

    @abstractmethod
    def second(self, distances: Array) -> Array:
        """Return ``f''(r)``."""

    @abstractmethod
    def distance(self, values: Array) -> Array:
        """Return the ``r`` at which ``f(r)`` has these values."""

    def pull(self, distances: Array, values: Array) -> Array:
        """Return ``-f'(r)/r`` in a new array, given ``r`` and ``f(r)``."""
        del values
        return -self.first(distances) / distances


@dataclass(frozen=True)
class Power(FeatureFunction):
    """An inverse power, ``r^-p``."""

    exponent: float
    name: str  # type: ignore[misc]
    formula: str  # type: ignore[misc]
    unit: str  # type: ignore[misc]

    def value(self, distances: Array) -> Array:
        """Return ``r^-p``."""
        if self.exponent == 0.5:
            return namespace(distances).sqrt(distances) ** -1.0
        return (distances if self.exponent == 1.0 else distances**self.exponent) ** -1.0

    def first(self, distances: Array) -> Array:
        """Return ``-p r^-(p+1)``."""
        return -self.exponent * self.value(distances) / distances

    def second(self, distances: Array) -> Array:
        """Return ``p (p+1) r^-(p+2)``."""
        factor = self.exponent * (self.exponent + 1.0)
        return factor * self.value(distances) / (distances * distances)

    def distance(self, values: Array) -> Array:
        """Return ``x^(-1/p)``."""
        return values ** (-1.0 / self.exponent)

    def pull(self, distances: Array, values: Array) -> Array:
        """Return ``p r^-(p+2)``."""
        if self.exponent == 1.0:
            return values * values * values
        return self.exponent * values / (distances * distances)


@dataclass(frozen=True)
class Logarithm(FeatureFunction):
    """The negative logarithm, ``-ln r`` with ``r`` in Å: relative changes of distances count."""

    name: ClassVar[str] = "log"
    formula: ClassVar[str] = "-ln r"
    unit: ClassVar[str] = ""

    def value(self, distances: Array) -> Array:
        """Return ``-ln r``."""
        return -namespace(distances).log(distances)

    def first(self, distances: Array) -> Array:
        """Return ``-1/r``."""
        return -(distances**-1.0)

    def second(self, distances: Array) -> Array:
        """Return ``1/r²``."""
        return (distances * distances) ** -1.0

    def distance(self, values: Array) -> Array:
        """Return ``e^-x``."""
        return namespace(values).exp(-values)


@dataclass(frozen=True)
class Exponential(FeatureFunction):
    """An exponential, ``e^(-r/2 Å)``: distances beyond a few Å hardly count."""

    decay: float = 2.0
    name: ClassVar[str] = "exponential"
    formula: ClassVar[str] = "exp(-r/2 Å)"
    unit: ClassVar[str] = ""

    def value(self, distances: Array) -> Array:
        """Return ``e^(-r/ℓ)``."""
        return namespace(distances).exp(distances / -self.decay)

    def first(self, distances: Array) -> Array:
        """Return ``-e^(-r/ℓ)/ℓ``."""
        return self.value(distances) / -self.decay

    def second(self, distances: Array) -> Array:
        """Return ``e^(-r/ℓ)/ℓ²``."""
        return self.value(distances) / self.decay**2

    def distance(self, values: Array) -> Array:
        """Return ``-ℓ ln x``."""
        return -self.decay * namespace(values).log(values)

    def pull(self, distances: Array, values: Array) -> Array:
        """Return ``e^(-r/ℓ)/(ℓ r)``."""
        return values / (self.decay * distances)


INVERSE = Power(1.0, "inverse", "1/r", "1/Å")
"""The feature function of the sGDML papers."""

FEATURE_FUNCTIONS: dict[str, FeatureFunction] = {
    function.name: function
    for function in (
        INVERSE,
        Power(0.5, "inverse-sqrt", "r^-1/2", "Å^-1/2"),
        Power(2.0, "inverse-square", "r^-2", "1/Å²"),
        Power(3.0, "inverse-cube", "r^-3", "1/Å³"),
        Logarithm(),
        Exponential(),
    )
}


def feature_function(name: str) -> FeatureFunction:
    """Return the feature function of this name.

    >>> feature_function("inverse-square").formula
    'r^-2'
    """
    try:
        return FEATURE_FUNCTIONS[name]
    except KeyError:
        raise OptionError(
            f"Unknown feature function {name!r}; choose one of {', '.join(FEATURE_FUNCTIONS)}."
        ) from None
