"""A set of whole numbers, kept as the ranges that they form."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Ranges:
    """Ranges (after, to], none of which touches another, in order; what is added again costs nothing."""

    __slots__ = ("_afters", "_tos")

    def __init__(self) -> None:
        self._afters: list[int] = []
        self._tos: list[int] = []

    def add(self, after: int, to: int) -> None:
        """Take in the numbers `after` < n <= `to`; there has to be one."""
        first, end = bisect_left(self._tos, after), bisect_right(self._afters, to)
        if first < end:
            after, to = min(after, self._afters[first]), max(to, self._tos[end - 1])
        self._afters[first:end], self._tos[first:end] = [after], [to]

    def __contains__(self, number: int) -> bool:
        place = bisect_left(self._tos, number)
        return place < len(self._tos) and self._afters[place] < number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._afters, self._tos, strict=True)
