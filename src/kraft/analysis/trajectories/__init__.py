"""What a simulation shows: spectra, dihedral angles, occupations, deviations, energies, errors.

Functions take arrays in Å, fs and eV and return frozen results; :func:`read_trajectory` reads what
simulations write.
"""

from kraft.analysis.trajectories.alignment import Superposition, rmsd, rotation_angles, superpose
from kraft.analysis.trajectories.blocking import BlockedMean, blocked_mean, pooled_mean
from kraft.analysis.trajectories.dihedrals import (
    AngleHistogram,
    Backbone,
    angle_histogram,
    backbone,
    dihedral_angles,
    folded,
)
from kraft.analysis.trajectories.energy import (
    Drift,
    degrees_of_freedom,
    drift,
    kinetic_energies,
)
from kraft.analysis.trajectories.ensemble import (
    ReplicaAverage,
    average_over_replicas,
    between_replicas,
    first_reached,
)
from kraft.analysis.trajectories.frames import Frames, centroid, shortened
from kraft.analysis.trajectories.free_energy import FreeEnergyProfile, free_energy_profile
from kraft.analysis.trajectories.gyration import radius_of_gyration
from kraft.analysis.trajectories.harmonic import HarmonicSpectrum, normal_modes, vibrations
from kraft.analysis.trajectories.minima import Basins, Occupations, find_basins, occupations
from kraft.analysis.trajectories.reading import ReadingRules, TrajectoryFile, read_trajectory
from kraft.analysis.trajectories.rotation import (
    RelativeRotation,
    describe_rotations,
    long_axis,
    relative_rotations,
)
from kraft.analysis.trajectories.selection import BondGraph, select_atoms
from kraft.analysis.trajectories.stationarity import Stationarity, cumulative_mean, stationarity
from kraft.analysis.trajectories.velocity_spectrum import (
    SpectrumSum,
    VelocitySpectrum,
    velocity_spectrum,
    without_rigid_motion,
)

__all__ = [
    "AngleHistogram",
    "Backbone",
    "Basins",
    "BlockedMean",
    "BondGraph",
    "Drift",
    "Frames",
    "FreeEnergyProfile",
    "HarmonicSpectrum",
    "Occupations",
    "ReadingRules",
    "RelativeRotation",
    "ReplicaAverage",
    "SpectrumSum",
    "Stationarity",
    "Superposition",
    "TrajectoryFile",
    "VelocitySpectrum",
    "angle_histogram",
    "average_over_replicas",
    "backbone",
    "between_replicas",
    "blocked_mean",
    "centroid",
    "cumulative_mean",
    "degrees_of_freedom",
    "describe_rotations",
    "dihedral_angles",
    "drift",
    "find_basins",
    "first_reached",
    "folded",
    "free_energy_profile",
    "kinetic_energies",
    "long_axis",
    "normal_modes",
    "occupations",
    "pooled_mean",
    "radius_of_gyration",
    "read_trajectory",
    "relative_rotations",
    "rmsd",
    "rotation_angles",
    "select_atoms",
    "shortened",
    "stationarity",
    "superpose",
    "velocity_spectrum",
    "vibrations",
    "without_rigid_motion",
]
