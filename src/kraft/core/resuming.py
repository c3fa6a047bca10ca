"""Whether a saved state belongs to what is to be resumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kraft.core.errors import OptionError


def require_same_identity(
    saved: Mapping[str, Any],
    wanted: Mapping[str, Any],
    path: Path,
    *,
    begun: str,
    same: str,
    free: Collection[str] = (),
) -> None:
    """Raise ``OptionError``, naming the difference, unless what was begun is what is wanted.

    Parameters
    ----------
    saved, wanted
        What decides the result, by name.
    path
        Of the state.
    begun, same
        Words for what was begun, and for what must be the same.
    free
        Names that may differ.
    """
    for name in {**saved, **wanted}:
        expected, got = saved.get(name), wanted.get(name)
        if name not in free and expected != got:
            raise OptionError(
                f"{path} cannot be resumed, because the {name} differs: expected {expected} as in "
                f"the {begun}, got {got}. Give the same {same} as before, or start anew without "
                "--resume (and with --overwrite)."
            )
