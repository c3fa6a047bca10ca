"""Permutational symmetries of molecules: found in data, given by the user, and their algebra."""

from kraft.symmetry.discovery import find_permutations
from kraft.symmetry.permutation_file import read_permutations, write_permutations
from kraft.symmetry.result import GeneratorEvidence, Rejection, StageTime, SymmetryResult

__all__ = [
    "GeneratorEvidence",
    "Rejection",
    "StageTime",
    "SymmetryResult",
    "find_permutations",
    "read_permutations",
    "write_permutations",
]
