"""Radial kernels, their derivatives, and the force kernel of a set of geometries."""

from kraft.kernels.contraction import Contracted, SymmetricContraction
from kraft.kernels.operator import KernelOperator
from kraft.kernels.radial import KERNELS, Gaussian, Matern, RadialKernel, radial_kernel

__all__ = [
    "KERNELS",
    "Contracted",
    "Gaussian",
    "KernelOperator",
    "Matern",
    "RadialKernel",
    "SymmetricContraction",
    "radial_kernel",
]
