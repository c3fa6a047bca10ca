r"""Radial kernels and their derivatives.

A radial kernel ``k`` acts on *scaled* features: ``z = s x`` with ``s`` from :meth:`scale`, so the
formulas hold no length scale. With ``u = |z - z'|`` and the operator ``𝒟 = (1/u) d/du``,

    first = 𝒟k,   second = 𝒟²k,   third = 𝒟³k,

which is all that covariances of energies, forces and Hessians need (`docs/theory.md`, eqs. 3-6).

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


class RadialKernel(ABC):
    """A positive definite function of the distance between scaled features, with ``k(0) = 1``."""

    name: ClassVar[str]
    label: ClassVar[str]

    @abstractmethod
    def scale(self, length_scale: float) -> float:
        """Return the factor ``s`` by which features are multiplied for this length scale."""

    @abstractmethod
    def derivative(self, order: int, squared: Tensor) -> Tensor:
        """Return ``𝒟ⁿk`` for ``n = 0..3`` at squared scaled distances ``u²`` of any shape."""

    @abstractmethod
    def force_factors_(self, squared: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(-first, second)`` at ``squared``, overwriting both arguments.

        The two results lie in the memory of the arguments and may be one and the same tensor, in
        whichever order; ``squared`` may be slightly negative from rounding.
        """


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
        return envelope * _polynomial(_bessel_coefficients(index), u)

    def force_factors_(self, squared: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(θ_{p-1} e^{-u}, θ_{p-2} e^{-u}) / θ_p(0)`` in place."""
        u = squared.clamp_min_(0.0).sqrt_()
        envelope = torch.sub(_minus_log_norm(self.p, u.dtype), u, out=scratch).exp_()
        if self.p == 2:  # (1 + u) e^{-u}, e^{-u}
            return torch.addcmul(envelope, envelope, u, out=u), envelope
        first = _polynomial(_bessel_coefficients(self.p - 1), u).mul_(envelope)
        second = _polynomial(_bessel_coefficients(self.p - 2), u).mul_(envelope)
        return squared.copy_(first), scratch.copy_(second)


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

    def force_factors_(self, squared: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(k, k)`` in place; the scratch is not needed."""
        del scratch
        factor = squared.mul_(-0.5).exp_()
        return factor, factor


def _bessel_coefficients(p: int) -> tuple[float, ...]:
    """Return the coefficients of the reverse Bessel polynomial ``θ_p``, lowest power first."""
    return tuple(
        math.factorial(2 * p - k) / (math.factorial(p - k) * math.factorial(k) * 2.0 ** (p - k))
        for k in range(p + 1)
    )


@functools.cache
def _minus_log_norm(p: int, dtype: torch.dtype) -> Tensor:
    """Return ``-log θ_p(0)``: adding it to an exponent normalizes the kernel at no cost."""
    return torch.tensor(-math.log(_bessel_coefficients(p)[0]), dtype=dtype)


def _polynomial(coefficients: tuple[float, ...], u: Tensor) -> Tensor:
    """Evaluate a polynomial by Horner's rule."""
    result = torch.full_like(u, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result.mul_(u).add_(coefficient)
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
