"""Means with standard errors, as they are printed and as figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from kraft.analysis.trajectories import BlockedMean
from kraft.cli.summary import number


def with_error(mean: BlockedMean, unit: str, factor: float = 1.0) -> str:
    """Return a mean with its standard error, digits by the error."""
    value, error = mean.mean / factor, mean.standard_error / factor
    named = f" {unit}" if unit else ""
    if not np.isfinite(error):
        return f"{number(value)}{named} (too few frames for a standard error)"
    if error == 0.0:
        return f"{number(value)} ± 0{named}"
    doubt = "" if mean.converged else " (too short: correlated throughout, error too small)"
    return f"{rounded(value, error)}{named}{doubt}"


def rounded(value: float, error: float) -> str:
    """Return a value with its standard error, which has one or two digits.

    Examples
    --------
    >>> rounded(3.14159, 0.0234), rounded(300.2, 12.3)
    ('3.142 ± 0.023', '300 ± 12')
    """
    digits = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0.0 else 4
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def mean_figures(mean: BlockedMean, factor: float = 1.0) -> dict[str, Any]:
    """Return a mean for ``--json``, in a unit of ``factor``."""
    return {
        "mean": mean.mean / factor,
        "standard_error": mean.standard_error / factor,
        "n": mean.n,
        "inefficiency": mean.inefficiency,
        "converged": mean.converged,
    }
