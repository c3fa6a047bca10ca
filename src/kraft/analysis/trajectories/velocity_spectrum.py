"""Vibrational spectra from velocities: the Fourier transform of their autocorrelation.

By the theorem of Wiener and Khinchin it is the mean of the squared Fourier transforms of windowed
segments (Welch 1967), which needs one pass and little memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import ase.units
import numpy as np
from scipy.signal import find_peaks, get_window

from kraft.core.errors import DataError, OptionError
from kraft.core.typing import FloatArray

LIGHT = 2.99792458e-5
"""Speed of light in cm/fs."""

Window = Literal["hann", "blackman", "boxcar"]
_PADDING = 4
"""Segments are padded with zeros to this many times their length, so that curves are smooth."""

MIN_SEGMENTS = 4
"""A spectrum of fewer segments is mostly noise."""


@dataclass(frozen=True, eq=False)
class VelocitySpectrum:
    """Spectrum of the velocity autocorrelation.

    Attributes
    ----------
    wavenumbers
        ``(K,)`` in 1/cm, from 0 to :attr:`nyquist`.
    intensities
        ``(K,)`` in cm; the area under the curve is one.
    mean_square
        What the area was before: the mean over time of the sum over atoms of ``m v²`` in eV, or
        without mass weighting of ``v²`` in Å²/fs².
    resolution
        Full width at half maximum that a sharp line gets, 1/cm.
    nyquist
        The highest wavenumber the frames can show; faster motion appears folded below it.
    n_segments
        Segments that were averaged, overlapping by half.
    window, mass_weighted, source
        How it was made; source is ``"velocities"`` or ``"positions"``.
    """

    wavenumbers: FloatArray
    intensities: FloatArray
    mean_square: float
    resolution: float
    nyquist: float
    n_segments: int
    window: Window
    mass_weighted: bool
    source: str

    def peaks(self, threshold: float = 0.05) -> FloatArray:
        """Return wavenumbers ``(P,)`` of maxima above a share of the highest, strongest first.

        A maximum counts when the curve falls by half between it and any higher one. Zero, where
        diffusion is, is no maximum.
        """
        curve = self.intensities
        found, of = find_peaks(curve, height=threshold * curve.max(), prominence=0.0)
        clear = found[of["prominences"] > 0.5 * curve[found]]
        ordered = clear[np.argsort(-curve[clear], kind="stable")]
        return np.array([self._refined(int(place)) for place in ordered])

    def _refined(self, place: int) -> float:
        """Return the top of the parabola through a maximum and its neighbors."""
        low, mid, high = self.intensities[place - 1 : place + 2]
        curvature = low - 2.0 * mid + high
        shift = 0.5 * (low - high) / curvature if curvature < 0.0 else 0.0
        return float(self.wavenumbers[place] + shift * (self.wavenumbers[1] - self.wavenumbers[0]))


class SpectrumSum:
    """Sums up the spectra of series that come in pieces.

    Parameters
    ----------
    interval
        Time between two values in fs.
    weights
        ``(N,)`` of the atoms: masses in u, or ones.
    mass_weighted
        Whether weights are masses.
    resolution
        Wanted full width at half maximum in 1/cm; it sets the length of the segments.
    window
        Hann, Blackman (fewer side lobes, longer segments) or none.
    differences
        Velocities are differences of positions over one interval; their spectrum is divided by
        ``sinc²``, what differences take from fast motion.

    Raises
    ------
    OptionError
        When interval or resolution is not positive, or segments would be shorter than 8 frames.
    """

    def __init__(
        self,
        interval: float,
        weights: FloatArray,
        *,
        mass_weighted: bool = True,
        resolution: float = 10.0,
        window: Window = "hann",
        differences: bool = False,
    ) -> None:
        if not (interval > 0.0 and resolution > 0.0):
            raise OptionError(
                f"Expected a positive interval and resolution, got {interval} fs and {resolution}."
            )
        self.interval, self._differences = interval, differences
        self._weights, self._mass_weighted, self._window = weights, mass_weighted, window
        self.length = round(_width_in_bins(window) / (LIGHT * interval * resolution))
        if self.length < 8:
            raise OptionError(
                f"Frames every {interval:g} fs are too far apart for a resolution of "
                f"{resolution:g} /cm: a segment would have {self.length} frames. Ask for a finer "
                "resolution, or write frames more often."
            )
        self.resolution = _width_in_bins(window) / (LIGHT * interval * self.length)
        self._shape = get_window(window, self.length)
        self._shape = self._shape / np.sqrt((self._shape**2).sum())
        self._padded = _PADDING * self.length
        self._power = np.zeros(self._padded // 2 + 1)
        self.n_segments = 0
        self._left: FloatArray = np.zeros((0, len(weights), 3))

    def add(self, velocities: FloatArray) -> None:
        """Take the next velocities ``(T, N, 3)`` of the series, in Å/fs."""
        series = np.concatenate([self._left, velocities])
        start = 0
        while len(series) - start >= self.length:
            segment = series[start : start + self.length]
            for atom, weight in enumerate(self._weights):
                windowed = segment[:, atom] * self._shape[:, None]
                transform = np.fft.rfft(windowed, self._padded, axis=0)
                self._power += weight * (transform.real**2 + transform.imag**2).sum(axis=1)
            self.n_segments += 1
            start += max(1, self.length // 2)
        self._left = series[start:].copy()

    def end_series(self) -> None:
        """Forget what was left of a series; the next values belong to another simulation."""
        self._left = self._left[:0]

    def spectrum(self) -> VelocitySpectrum:
        """Return the mean spectrum so far.

        Raises
        ------
        DataError
            When the series was shorter than a segment, or nothing moves.
        """
        if self.n_segments == 0:
            raise DataError(
                f"A resolution of {self.resolution:.3g} /cm needs at least {self.length} frames "
                f"({self.length * self.interval:g} fs) of one simulation without a break. "
                "Simulate longer, or accept a coarser resolution."
            )
        frequencies = np.fft.rfftfreq(self._padded, self.interval)
        power = 2.0 * self._power / self.n_segments  # negative frequencies, too
        if self._differences:
            power = power / np.sinc(frequencies * self.interval) ** 2
        wavenumbers: FloatArray = np.asarray(frequencies / LIGHT, dtype=np.float64)
        # by trapezoids: zero and the last frequency have one neighbor each
        area = float(power.sum() - 0.5 * (power[0] + power[-1]))
        total = area / self._padded
        if not total > 0.0:
            raise DataError("Nothing moves in this trajectory: there is no spectrum.")
        density: FloatArray = power / (area * (wavenumbers[1] - wavenumbers[0]))
        to_energy = 1.0 / ase.units.fs**2 if self._mass_weighted else 1.0
        return VelocitySpectrum(
            wavenumbers,
            density,
            total * to_energy,
            self.resolution,
            float(wavenumbers[-1]),
            self.n_segments,
            self._window,
            self._mass_weighted,
            "positions" if self._differences else "velocities",
        )


def velocity_spectrum(
    velocities: FloatArray | Sequence[FloatArray],
    interval: float,
    *,
    masses: FloatArray | None = None,
    resolution: float = 10.0,
    window: Window = "hann",
) -> VelocitySpectrum:
    """Return the spectrum of velocities that are in memory.

    Parameters
    ----------
    velocities
        ``(T, N, 3)`` in Å/fs, or several such arrays, of independent simulations or of beads, whose
        spectra are averaged. That of the centroid is the spectrum of the mean velocity.
    interval
        fs between frames.
    masses
        ``(N,)`` in u to weight the atoms with, so that every mode of a classical system in
        equilibrium has the same area; without, light atoms dominate.
    resolution, window
        As :class:`SpectrumSum`.

    Raises
    ------
    OptionError, DataError
        As :class:`SpectrumSum`.
    """
    several: Iterable[FloatArray] = velocities if isinstance(velocities, Sequence) else [velocities]
    arrays = [np.asarray(each, dtype=np.float64) for each in several]
    weights = np.ones(arrays[0].shape[1]) if masses is None else np.asarray(masses, np.float64)
    total = SpectrumSum(
        interval, weights, mass_weighted=masses is not None, resolution=resolution, window=window
    )
    for array in arrays:
        total.add(array)
        total.end_series()
    return total.spectrum()


def without_rigid_motion(
    velocities: FloatArray, positions: FloatArray, masses: FloatArray
) -> FloatArray:
    """Return velocities ``(T, N, 3)`` without the motion of the molecule as a rigid body.

    The velocity of the center of mass and ``ω × r`` are taken away, with ``ω`` the angular momentum
    over the tensor of inertia. For free molecules only: periodic ones do not rotate.
    """
    weights = masses / masses.sum()
    arms = positions - np.einsum("n,tnx->tx", weights, positions)[:, None]
    inner = velocities - np.einsum("n,tnx->tx", weights, velocities)[:, None]
    momentum = np.einsum("n,tnx->tx", weights, np.cross(arms, inner))
    outer = np.einsum("n,tnx,tny->txy", weights, arms, arms)
    inertia = np.trace(outer, axis1=1, axis2=2)[:, None, None] * np.eye(3) - outer
    # a linear molecule does not turn about its axis: the pseudo-inverse leaves that out
    rates = np.einsum("txy,ty->tx", np.linalg.pinv(inertia, rcond=1e-9, hermitian=True), momentum)
    result: FloatArray = inner - np.cross(rates[:, None], arms)
    return result


def _width_in_bins(window: Window) -> float:
    """Return the full width at half maximum of a line, in ones over the segment's length."""
    n, padding = 256, 64
    power = np.abs(np.fft.rfft(get_window(window, n), padding * n)) ** 2
    half = 0.5 * power[0]
    below = int(np.argmax(power < half))
    exact = below - (half - power[below]) / (power[below - 1] - power[below])
    return float(2.0 * exact / padding)
