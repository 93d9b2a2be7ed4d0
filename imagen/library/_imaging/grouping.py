"""Groups of similar hashes: connected components of a million hashes.

Hashes that differ in at most d bits are equal in two of d + 2 bands. So for
each pair of bands the hashes are sorted by these two, and only neighbours are
compared. All steps work on whole arrays: a loop over the hashes would take
minutes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Numbers = NDArray[numpy.int64]
    Hashes = NDArray[numpy.uint64]
    Pairs = tuple[Numbers, Numbers]

__all__ = ["group_hashes"]

_BITS = 64


def group_hashes(numbers: array[int], hashes: array[int], max_distance: int) -> list[list[int]]:
    """Group nearly identical images by their hashes, and return their numbers:
    the largest group first. Blocking.

    Args:
        numbers: Numbers of the images.
        hashes: Their hashes, signed.
        max_distance: Distance between adjacent images of a group, in bits.
    """
    import numpy

    if not numbers:
        return []
    distinct, which = numpy.unique(
        numpy.frombuffer(hashes, dtype=numpy.uint64), return_inverse=True
    )
    labels = numpy.arange(len(distinct))
    for mask in _masks(max_distance):
        for first, second in _near_pairs(distinct, mask, max_distance):
            apart = labels[first] != labels[second]
            if apart.any():
                labels = _join(labels, labels[first[apart]], labels[second[apart]])
    return _split(numpy.frombuffer(numbers, dtype=numpy.int64), labels[which])


def _masks(max_distance: int) -> Iterator[int]:
    bands = max_distance + 2
    edges = [_BITS * band // bands for band in range(bands + 1)]
    masks = [(1 << high) - (1 << low) for low, high in pairwise(edges)]
    return (first | second for first, second in combinations(masks, 2))


def _near_pairs(hashes: Hashes, mask: int, max_distance: int) -> Iterator[Pairs]:
    """Yield pairs of indices whose hashes are equal under the mask and near
    each other; each array compares neighbours one step further apart.
    """
    import numpy

    keys = hashes & numpy.uint64(mask)
    order = numpy.argsort(keys, kind="stable")
    keys = keys[order]
    at, step = numpy.arange(len(keys)), 0
    while True:
        step += 1
        at = at[: numpy.searchsorted(at, len(keys) - step)]
        at = at[keys[at] == keys[at + step]]
        if not len(at):
            return
        first, second = order[at], order[at + step]
        near = numpy.bitwise_count(hashes[first] ^ hashes[second]) <= max_distance
        yield first[near], second[near]


def _join(labels: Numbers, first: Numbers, second: Numbers) -> Numbers:
    """Return the labels after the groups with these labels are merged, pair by
    pair.
    """
    import numpy
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    count = int(labels.max()) + 1
    graph = coo_array((numpy.ones(len(first), dtype=bool), (first, second)), shape=(count, count))
    joined: Numbers = connected_components(graph, directed=False)[1].astype(numpy.int64)
    return joined[labels]


def _split(numbers: Numbers, labels: Numbers) -> list[list[int]]:
    """Return the numbers that share a label, if there are several."""
    import numpy

    order = numpy.lexsort((-numbers, labels))
    ends = numpy.flatnonzero(numpy.diff(labels[order])) + 1
    groups: Sequence[Numbers] = numpy.split(numbers[order], ends)
    several = [group.tolist() for group in groups if len(group) > 1]
    return sorted(several, key=lambda group: (-len(group), -group[0]))
