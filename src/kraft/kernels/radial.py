r"""Radial kernels and their derivatives.

A radial kernel ``k`` acts on *scaled* features: ``z = s x`` with ``s`` from :meth:`scale`, so the
formulas hold no length scale. With ``u = |z - z'|`` and the operator ``𝒟 = (1/u) d/du``,

    first = 𝒟k,   second = 𝒟²k,   third = 𝒟³k,

which is all that covariances of energies, forces and Hessians need (`docs/theory.md`, eqs. 3-4).

For the Matérn family with smoothness ``p + 1/2``, ``k = θ_p(u) e^{-u} / θ_p(0)`` with the reverse
Bessel polynomials ``θ_0 = 1, θ_1 = 1 + u, θ_p = (2p-1) θ_{p-1} + u² θ_{p-2}``, and ``𝒟`` only
lowers the index: ``𝒟[θ_p e^{-u}] = -θ_{p-1} e^{-u}``, with ``θ_{-1} = 1/u``. For the Gaussian,
``k = e^{-u²/2}`` and ``𝒟k = -k``.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kraft.core.errors import OptionError
from kraft.linalg.arrays import Array, namespace


class RadialKernel(ABC):
    """A positive definite function of the distance between kernel features, with ``k(0) = 1``."""

    name: ClassVar[str]
    label: ClassVar[str]

    @abstractmethod
    def scale(self, length_scale: float) -> float:
        """Return the factor ``s`` by which features are multiplied for this length scale."""

    @abstractmethod
    def derivative(self, order: int, squared: Tensor) -> Tensor:
        """Return ``𝒟ⁿk`` for ``n = 0..3`` at squared scaled distances ``u²`` of any shape."""

    @abstractmethod
    def force_factors_(self, squared: Array, scratch: Array) -> tuple[Array, Array]:
        """Return ``(-first, second)`` times :attr:`norm`, overwriting ``squared`` and ``scratch``.

        The arguments are tensors or NumPy arrays. ``-first`` lies in the memory of ``squared``,
        ``second`` in either and may be the same array; ``squared`` may be slightly negative from
        rounding.
        """

    @property
    @abstractmethod
    def norm(self) -> float:
        """The factor by which :meth:`force_factors_` exceeds the derivatives."""


@dataclass(frozen=True)
class Matern(RadialKernel):
    """Matérn kernel of half-integer smoothness ``p + 1/2`` (the sGDML papers use 5/2)."""

    p: int

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name on the command line and in model files: ``matern52``, ``matern72``."""
        return f"matern{2 * self.p + 1}2"

    @property
    def label(self) -> str:  # type: ignore[override]
        """Name in reports."""
        return f"Matérn-{2 * self.p + 1}/2"

    def scale(self, length_scale: float) -> float:
        """Return ``√(2p+1) / length_scale``."""
        return math.sqrt(2 * self.p + 1) / length_scale

    def derivative(self, order: int, squared: Tensor) -> Tensor:
        """Return ``(-1)ⁿ θ_{p-n}(u) e^{-u} / θ_p(0)``."""
        index = self.p - order
        u = squared.clamp_min(0.0 if index >= 0 else torch.finfo(squared.dtype).tiny).sqrt()
        envelope: Tensor = torch.exp(-u) * ((-1) ** order / _bessel_coefficients(self.p)[0])
        if index < 0:
            return envelope / u
        result: Tensor = envelope * _polynomial(_bessel_coefficients(index), u)
        return result

    @property
    def norm(self) -> float:
        """``θ_p(0)``."""
        return _bessel_coefficients(self.p)[0]

    def force_factors_(self, squared: Array, scratch: Array) -> tuple[Array, Array]:
        """Return ``θ_{p-1} e^{-u}`` and ``θ_{p-2} e^{-u}`` in place."""
        xp = namespace(squared)
        u = xp.sqrt(xp.abs(squared, out=squared), out=squared)
        envelope = xp.exp(xp.negative(u, out=scratch), out=scratch)
        if self.p == 2:  # (1 + u) e^{-u} and e^{-u}, without further memory
            return xp.multiply(xp.add(u, 1.0, out=u), envelope, out=u), envelope
        first = _polynomial(_bessel_coefficients(self.p - 1), u)
        second = _polynomial(_bessel_coefficients(self.p - 2), u)
        return (
            xp.multiply(first, envelope, out=u),
            xp.multiply(second, envelope, out=envelope),
        )


@dataclass(frozen=True)
class Gaussian(RadialKernel):
    """Gaussian (squared exponential) kernel, infinitely smooth."""

    name: ClassVar[str] = "gaussian"
    label: ClassVar[str] = "Gaussian"

    def scale(self, length_scale: float) -> float:
        """Return ``1 / length_scale``."""
        return 1.0 / length_scale

    def derivative(self, order: int, squared: Tensor) -> Tensor:
        """Return ``(-1)ⁿ e^{-u²/2}``."""
        value: Tensor = torch.exp(-0.5 * squared) * (-1) ** order
        return value

    @property
    def norm(self) -> float:
        """One."""
        return 1.0

    def force_factors_(self, squared: Array, scratch: Array) -> tuple[Array, Array]:
        """Return ``(k, k)`` in place; the scratch is not needed."""
        del scratch
        xp = namespace(squared)
        factor = xp.exp(xp.multiply(squared, -0.5, out=squared), out=squared)
        return factor, factor


@functools.cache
def _bessel_coefficients(p: int) -> tuple[float, ...]:
    """Return the coefficients of the reverse Bessel polynomial ``θ_p``, lowest power first."""
    return tuple(
        math.factorial(2 * p - k) / (math.factorial(p - k) * math.factorial(k) * 2.0 ** (p - k))
        for k in range(p + 1)
    )


def _polynomial(coefficients: tuple[float, ...], u: Array) -> Array:
    """Evaluate a polynomial by Horner's rule."""
    result: Array = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        result = result * u + coefficient
    return result


KERNELS: dict[str, RadialKernel] = {
    kernel.name: kernel for kernel in (Matern(2), Matern(3), Gaussian())
}


def radial_kernel(name: str) -> RadialKernel:
    """Return the kernel of this name: ``matern52``, ``matern72`` or ``gaussian``."""
    try:
        return KERNELS[name]
    except KeyError:
        raise OptionError(
            f"Unknown kernel {name!r}; choose one of {', '.join(sorted(KERNELS))}."
        ) from None
