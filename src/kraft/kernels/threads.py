"""Tiles of NumPy work in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

_Item = TypeVar("_Item")


class Threads:
    """Works on items with as many threads as the BLAS library may use, one BLAS thread each.

    NumPy gives way to other threads inside its functions, and element-wise functions use one
    processor only: tiles in threads use them all, for everything.

    Parameters
    ----------
    native
        Whether the work is NumPy's; otherwise it is done item by item.
    """

    def __init__(self, *, native: bool) -> None:
        self._blas = ThreadpoolController().select(user_api="blas") if native else None

    def run(self, work: Callable[[_Item], None], items: Iterable[_Item]) -> None:
        """Call ``work`` with every item, in any order."""
        items = list(items)
        n_threads = 1
        if self._blas is not None:
            n_threads = max([library["num_threads"] for library in self._blas.info()], default=1)
        if min(n_threads, len(items)) < 2 or self._blas is None:
            for item in items:
                work(item)
            return
        with (
            self._blas.limit(limits=1),
            ThreadPoolExecutor(min(n_threads, len(items))) as executor,
        ):
            for _ in executor.map(work, items):
                pass
