"""``kraft analyze spectrum``: vibrations from velocities, beside the harmonic ones of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np

from kraft.analysis.trajectories import (
    Frames,
    HarmonicSpectrum,
    SpectrumSum,
    VelocitySpectrum,
    select_atoms,
    vibrations,
    without_rigid_motion,
)
from kraft.analysis.trajectories.velocity_spectrum import MIN_SEGMENTS, Window
from kraft.cli.analyze_display import chosen_atoms, finish, graph_of
from kraft.cli.geometry_match import check_match
from kraft.cli.model_files import load_model
from kraft.cli.options import Flag
from kraft.cli.progress import progress_bars
from kraft.cli.summary import counted, number, print_facts, print_notices, print_warning
from kraft.cli.trajectory_options import ShowOptions, Simulations, TrajectoryOptions
from kraft.core.errors import DataError, SolverError
from kraft.core.progress import Progress
from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry_format import Geometries
from kraft.interfaces.surface import relax as relax_geometry
from kraft.reports.trajectory_figures import spectrum_figure

_MAX_FORCE = 1e-4
"""eV/Å: a geometry is a minimum when the force on no atom is larger."""

_HIGHEST_VIBRATION = 4000.0
"""1/cm: hydrogen's stretches stay below."""


def spectrum(
    *trajectories: Path,
    atoms: str = "all",
    resolution: float = 10.0,
    window: Window = "hann",
    unweighted: Annotated[bool, Flag] = False,
    from_positions: Annotated[bool, Flag] = False,
    keep_rigid: Annotated[bool, Flag] = False,
    model: Path | None = None,
    relax: bool = True,
    upper: float | None = None,
    reading: TrajectoryOptions = TrajectoryOptions(),  # noqa: B008
    show: ShowOptions = ShowOptions(),  # noqa: B008
) -> None:
    """Vibrational spectrum: the Fourier transform of the velocity autocorrelation.

    Parameters
    ----------
    trajectories
        One file, or several: spectra of replicas or beads are averaged; --files centroid is the
        spectrum of the centroid of a path integral.
    atoms
        Atoms whose velocities count.
    resolution
        Full width at half maximum in 1/cm that a sharp line gets.
    window
        Of the segments.
    unweighted
        Do not weight atoms with their masses: light ones then dominate.
    from_positions
        Take velocities from differences of positions though the file has momenta.
    keep_rigid
        Keep translation and rotation of the molecule, which are removed from free ones.
    model
        Draw the harmonic spectrum of this model beside it, from its analytic Hessian.
    relax
        Go to the model's minimum near the first frame for that.
    upper
        Wavenumber to draw to.
    """
    show.check()
    simulations = reading.open(trajectories)
    first = simulations.first()
    chosen = select_atoms(atoms, graph_of(first))
    harmonic = None if model is None else _harmonic(model, first, simulations, relax)
    moving = first.velocities is not None and not from_positions
    weights = np.ones(len(chosen)) if unweighted else first.masses[chosen]
    total = SpectrumSum(
        simulations.interval(), weights, mass_weighted=not unweighted, resolution=resolution,
        window=window, differences=not moving,
    )  # fmt: skip
    rigid = keep_rigid or first.cell is not None
    with progress_bars() as progress:
        _sum_up(simulations, total, chosen, moving, rigid, progress)
    found = total.spectrum()
    _print(found, harmonic, chosen_atoms(chosen, first), simulations, rigid)
    figures = {
        "trajectories": [file.path for file in simulations.files],
        "files": simulations.meaning,
        "atoms": chosen,
        "wavenumbers": found.wavenumbers,
        "intensities": found.intensities,
        "peaks": found.peaks(),
        "mean_square": found.mean_square,
        "mass_weighted": found.mass_weighted,
        "resolution": found.resolution,
        "nyquist": found.nyquist,
        "n_segments": found.n_segments,
        "source": found.source,
        "harmonic": None if harmonic is None else harmonic.wavenumbers,
    }
    finish(
        simulations, show, figures,
        lambda title: spectrum_figure(found, harmonic, atoms=chosen, upper=upper, title=title),
    )  # fmt: skip


def _sum_up(
    simulations: Simulations,
    total: SpectrumSum,
    chosen: IntArray,
    moving: bool,
    rigid: bool,
    progress: Progress,
) -> None:
    """Go through all trajectories."""
    current, last, done = -1, None, 0
    for number_of, frames in simulations.chunks():
        if number_of != current:
            total.end_series()
            current, last = number_of, None
        if len(frames) > 1:
            _require_interval(frames, total.interval)
        velocities, positions, last = _velocities(frames, last, moving, total.interval)
        if not rigid:
            velocities = without_rigid_motion(velocities, positions, frames.masses)
        total.add(velocities[:, chosen])
        done += len(frames)
        progress("reading", done, 0)


def _require_interval(frames: Frames, interval: float) -> None:
    """Raise unless frames come at equal intervals, and at those of the first ones."""
    if not np.isclose(frames.interval, interval, rtol=1e-3):
        raise DataError(
            f"{frames.name}: frames are {frames.interval:g} fs apart, those before {interval:g}. "
            "Expected one interval in all trajectories."
        )


def _velocities(
    frames: Frames, last: FloatArray | None, moving: bool, interval: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return velocities, the positions they belong to, and the last positions."""
    if moving and frames.velocities is not None:
        return frames.velocities, frames.positions, frames.positions[-1:]
    positions = frames.positions if last is None else np.concatenate([last, frames.positions])
    steps = np.diff(positions, axis=0)
    if frames.cell is not None:
        fractional = steps @ np.linalg.inv(frames.cell)
        steps = (fractional - np.rint(fractional)) @ frames.cell
    return steps / interval, positions[:-1] + 0.5 * steps, positions[-1:]


def _harmonic(
    model: Path, first: Frames, simulations: Simulations, relax: bool
) -> HarmonicSpectrum:
    force_field = load_model(model)
    frames = Geometries(first.atomic_numbers, first.positions, first.cell)
    check_match(force_field, frames, simulations.files[0].path, any_order=False)
    start = first.positions[0]
    if not relax:
        return vibrations(force_field, start)
    reached = relax_geometry(force_field, start, fmax=_MAX_FORCE)
    if not reached.converged:
        raise SolverError(
            f"No minimum of the model was found: forces up to {reached.max_force:.2g} eV/Å are "
            f"left, expected {_MAX_FORCE:g}. Start from a geometry near a minimum, or take it as "
            "it is (--no-relax)."
        )
    return vibrations(force_field, reached.positions)


def _print(
    found: VelocitySpectrum,
    harmonic: HarmonicSpectrum | None,
    atoms: str,
    simulations: Simulations,
    rigid: bool,
) -> None:
    peaks = np.sort(found.peaks()[:20])
    rows = [
        ("atoms", atoms + (", weighted with their masses" if found.mass_weighted else "")),
        ("from", found.source + ("" if rigid else ", without rigid motion")),
        (
            "resolution",
            f"{found.resolution:.3g} /cm, {counted(found.n_segments, 'segment')} averaged, "
            f"{found.window} window",
        ),
        ("peaks", " ".join(f"{peak:.0f}" for peak in peaks) + " /cm"),
    ]
    if harmonic is not None:
        modes = " ".join(
            f"{abs(wave):.0f}{'i' if wave < 0.0 else ''}" for wave in harmonic.wavenumbers[:60]
        )
        rows.append(("harmonic", f"{modes} /cm"))
        rows.append(("forces there", f"at most {number(harmonic.max_force)} eV/Å"))
    print_facts(f"Spectrum of {simulations.title}", rows)
    notes = []
    if found.nyquist < _HIGHEST_VIBRATION:
        notes.append(
            f"The frames show motion up to {found.nyquist:.0f} /cm only; faster motion appears at "
            "wrong places below. Write frames more often for stretches of hydrogen."
        )
    print_notices(notes)
    if found.n_segments < MIN_SEGMENTS:
        print_warning(
            f"Only {counted(found.n_segments, 'segment')}: heights are mostly noise. Simulate "
            "longer, or take a coarser --resolution."
        )
