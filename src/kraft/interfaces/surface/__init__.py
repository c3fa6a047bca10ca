"""The energy surface of a model, explored with ASE: minima, reaction paths, torsion scans."""

from __future__ import annotations

from kraft.interfaces.surface.coordinates import FixCoordinate, InternalCoordinate
from kraft.interfaces.surface.elastic_band import EndOrder, ReactionPath, find_path
from kraft.interfaces.surface.images import ModelImages
from kraft.interfaces.surface.profile import Barrier, Profile, StationaryPoint
from kraft.interfaces.surface.relaxation import Relaxation, relax
from kraft.interfaces.surface.scan import Scan, scan

__all__ = [
    "Barrier",
    "EndOrder",
    "FixCoordinate",
    "InternalCoordinate",
    "ModelImages",
    "Profile",
    "ReactionPath",
    "Relaxation",
    "Scan",
    "StationaryPoint",
    "find_path",
    "relax",
    "scan",
]
