"""Minimizing a function of a few variables by steps along its axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Point = tuple[float, ...]


def compass_search(
    function: Callable[[Point], float],
    start: Point,
    bounds: Sequence[tuple[float, float]],
    free: Sequence[int],
    *,
    step: float,
    smallest_step: float,
) -> Point:
    """Minimize by steps along the free axes and, with two, their diagonals; halve when none helps.

    Every point is evaluated once. The function may return infinity where it is not defined.
    """
    values: dict[Point, float] = {}

    def value(point: Point) -> float:
        if point not in values:
            values[point] = function(point)
        return values[point]

    directions = [
        tuple(sign if axis == chosen else 0.0 for axis in range(len(start)))
        for chosen in free
        for sign in (1.0, -1.0)
    ]
    if len(free) == 2:
        directions += [(1.0, 1.0), (-1.0, -1.0)]  # along the valley
    best = start
    value(best)
    while directions and step >= smallest_step:
        neighbors = [
            tuple(
                min(max(x + step * d, low), high)
                for x, d, (low, high) in zip(best, direction, bounds, strict=True)
            )
            for direction in directions
        ]
        candidate = min(neighbors, key=value)
        if value(candidate) < value(best):
            best = candidate
        else:
            step /= 2.0
    return best
