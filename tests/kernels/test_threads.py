"""Tests of kraft.kernels.threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from kraft.kernels.threads import Threads, map_in_threads


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threaded", [True, False])
def test_results_come_in_the_order_of_the_items(two_threads: None, threaded: bool) -> None:
    items = torch.arange(7)
    found = list(map_in_threads(lambda x: int(x) ** 2, items, threaded=threaded))
    assert found == [0, 1, 4, 9, 16, 25, 36]


def test_items_are_worked_on_side_by_side(two_threads: None) -> None:
    both_here = threading.Barrier(2, timeout=20.0)  # never passed by one thread alone

    def work(_: int) -> int:
        both_here.wait()
        return torch.get_num_threads()

    assert list(map_in_threads(work, range(4), threaded=True)) == [1, 1, 1, 1]


def test_the_number_of_threads_is_as_before(two_threads: None) -> None:
    def fail(_: int) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(map_in_threads(fail, range(3), threaded=True))
    found: list[int] = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert [torch.get_num_threads(), *found] == [2, 2]


def test_one_thread_works_in_the_callers_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = set(map_in_threads(lambda _: threading.get_ident(), range(3), threaded=True))
    finally:
        torch.set_num_threads(before)
    assert found == {threading.get_ident()}


def blas_threads() -> set[int]:
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


def test_native_work_is_done_side_by_side_with_one_blas_thread_each() -> None:
    both_here = threading.Barrier(2, timeout=20.0)
    found: dict[int, set[int]] = {}

    def work(item: int) -> None:
        both_here.wait()
        found[item] = blas_threads()
        Threads(native=True).run(lambda inner: found.setdefault(inner, {inner}), [item + 10])

    with threadpool_limits(2, user_api="blas"):
        assert Threads(native=True).count == 2
        Threads(native=True).run(work, range(4))
        assert blas_threads() == {2}
    assert all(found[item] == {1} for item in range(4))
    assert sorted(found) == [0, 1, 2, 3, 10, 11, 12, 13]


@pytest.mark.parametrize("threads", [1, 2])
def test_native_work_that_fails(threads: int) -> None:
    def work(item: int) -> None:
        if item == 3:
            raise ValueError("no")

    with threadpool_limits(threads, user_api="blas"):
        with pytest.raises(ValueError, match="no"):
            Threads(native=True).run(work, range(6))
        assert blas_threads() == {threads}


def test_work_that_is_not_native_stays_in_the_callers_thread() -> None:
    found: list[int] = []
    with threadpool_limits(2, user_api="blas"):
        Threads(native=False).run(lambda _: found.append(threading.get_ident()), range(3))
    assert found == [threading.get_ident()] * 3
