"""Tiles of NumPy work, and items of torch work, in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


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


def map_in_threads(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, threaded: bool
) -> Iterator[_Result]:
    """Yield what ``work`` makes of each item, in their order, on torch's threads.

    Many small operations gain little from two threads inside each; whole items, with one thread
    each, gain all of it. Grad mode is a thread's own: ``work`` sets it.

    Parameters
    ----------
    threaded
        Whether the work is done by this machine's processors; otherwise it is item by item.
    """
    n_threads = torch.get_num_threads() if threaded else 1
    if n_threads < 2:
        yield from map(work, items)
        return
    try:
        with ThreadPoolExecutor(
            n_threads, initializer=torch.set_num_threads, initargs=(1,)
        ) as executor:
            remaining = iter(items)
            while batch := list(islice(remaining, n_threads)):  # no results pile up
                yield from executor.map(work, batch)
    finally:
        torch.set_num_threads(n_threads)  # new threads start with the last number set anywhere
