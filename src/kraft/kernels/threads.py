"""Tiles of NumPy work, and items of torch work, in threads."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Threads:
    """Works on items with as many threads as the BLAS library may use, one BLAS thread each.

    NumPy gives way to other threads inside its functions, and element-wise functions use one
    processor only: tiles in threads use them all, for everything. The caller's own thread works
    too, and the others are kept from one call to the next: a call costs some ten microseconds.

    Parameters
    ----------
    native
        Whether the work is NumPy's; otherwise it is done item by item.
    """

    def __init__(self, *, native: bool) -> None:
        self._native = native

    @property
    def count(self) -> int:
        """How many items are worked on at once; 1 inside a thread."""
        if not self._native:
            return 1
        return max((library.num_threads for library in _blas_libraries()), default=1)

    def run(self, work: Callable[[_Item], None], items: Iterable[_Item]) -> None:
        """Call ``work`` with every item, in any order."""
        pending = deque(items)
        n_threads = min(self.count, len(pending)) if len(pending) > 1 else 1

        def work_off() -> None:
            while True:
                try:
                    item = pending.popleft()
                except IndexError:
                    return
                work(item)

        if n_threads < 2:
            work_off()
            return
        executor = _executor(n_threads - 1, os.getpid())
        with _one_blas_thread():
            others = [executor.submit(work_off) for _ in range(n_threads - 1)]
            try:
                work_off()
            finally:
                begun = [other for other in others if not other.cancel()]
                wait(begun)
        for other in begun:
            other.result()


@functools.cache
def _blas_libraries() -> tuple[Any, ...]:
    """Return the BLAS libraries of this process."""
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


@functools.lru_cache(maxsize=4)
def _executor(n_workers: int, process: int) -> ThreadPoolExecutor:
    """Return threads that wait for work in a process; a forked one has none of its parent's."""
    return ThreadPoolExecutor(n_workers, thread_name_prefix=f"kraft-{process}")


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Let the BLAS libraries use one thread each meanwhile."""
    before = [(library, library.num_threads) for library in _blas_libraries()]
    for library, _ in before:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, number in before:
            library.set_num_threads(number)


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
