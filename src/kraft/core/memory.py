"""How much memory there is, asked before a large computation starts."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def format_bytes(n_bytes: float) -> str:
    """Return an amount of memory in the unit a person would choose.

    Examples
    --------
    >>> format_bytes(2048), format_bytes(3.2e8), format_bytes(5e9), format_bytes(1023.99 * 1024)
    ('2.0 KiB', '305 MiB', '4.7 GiB', '1.0 MiB')
    """
    amount, unit = n_bytes / 1024, _UNITS[0]
    for larger in _UNITS[1:]:
        if round(amount) < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if round(amount, 1) >= 10 else f"{amount:.1f} {unit}"


def available_memory(device: torch.device | str = "cpu") -> int:
    """Return the bytes that can still be allocated on a device.

    On Linux this is the kernel's own estimate, bounded by the limit of the control group; where the
    system tells neither, 80 % of the physical memory is assumed.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    candidates = [_meminfo_available(), _cgroup_available()]
    known = [value for value in candidates if value is not None]
    if known:
        return min(known)
    return int(0.8 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _meminfo_available() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, flags=re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def _cgroup_available() -> int | None:
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        statistics = Path("/sys/fs/cgroup/memory.stat").read_text()
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    # files read lately count as used, but make room when memory is asked for
    cached = re.search(r"^inactive_file (\d+)", statistics, flags=re.MULTILINE)
    return max(0, int(limit) - used + (int(cached.group(1)) if cached else 0))
