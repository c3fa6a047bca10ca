"""Files that commands write: checked before the work starts, whole or absent after it."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kraft.core.errors import OptionError
from kraft.core.files import atomic_path

PLOT_SUFFIXES = (".png", ".pdf", ".svg")

written_files: list[Path] = []
"""What the running command has written so far; an interruption reports it."""


def check_output(
    path: Path, *, suffixes: tuple[str, ...] = (), overwrite: bool = False, size: int = 0
) -> None:
    """Make sure that ``path`` can be written, before any work is done for it.

    Parameters
    ----------
    path
        Where the file shall go; missing folders above it are made later.
    suffixes
        Those it may have; any when empty.
    overwrite
        Whether a file that is there may be replaced.
    size
        Bytes that will be needed, as far as known.

    Raises
    ------
    OptionError
        When the name does not fit or the file is there already.
    OSError
        When the folder cannot be written or the disk has no room.
    """
    if path.is_dir():
        raise OptionError(f"{path} is a folder. Give the name of a file in it.")
    if suffixes and path.suffix not in suffixes:
        raise OptionError(
            f"Cannot write {path.name}: expected a name that ends in "
            f"{' or '.join(suffixes)}, for example {path.with_suffix(suffixes[0])}."
        )
    if path.exists() and not overwrite:
        raise OptionError(
            f"{path} is there already. Choose another name, or replace it with --overwrite."
        )
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".kraft-"):
            pass
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def check_json(path: Path | None) -> None:
    """Make sure that the file of ``--json`` can be written; an older one will be replaced."""
    if path is not None:
        check_output(path, overwrite=True)


def check_plot(path: Path | None, *, overwrite: bool = True) -> None:
    """Make sure that the file of ``--plot`` can be written; by default it replaces an older one."""
    if path is not None:
        check_output(path, suffixes=PLOT_SUFFIXES, overwrite=overwrite)


def note_written(path: Path) -> None:
    """Remember that ``path`` was written."""
    written_files.append(path)


def write_json(path: Path | None, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON, atomically; do nothing without a path.

    Numbers that are not finite become null, since JSON has none.
    """
    if path is None:
        return
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    note_written(path)


def _plain(value: Any) -> Any:
    """Return ``value`` in terms of what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
