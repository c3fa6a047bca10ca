"""The two streams: results go to standard output, everything else to standard error."""

from __future__ import annotations

from rich.console import Console

out = Console(highlight=False)
"""Results."""

err = Console(stderr=True, highlight=False)
"""Notices, warnings, errors, progress."""
