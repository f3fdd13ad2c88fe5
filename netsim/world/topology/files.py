"""Reading of links and positions from a user's files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import networkx as nx

from netsim.core.errors import ScenarioError
from netsim.core.table import lines, number


def read_links(path: Path, count: int) -> list[tuple[int, int]]:
    """Read pairs of devices from a CSV file, two numbers a line, or from the edges of an undirected GraphML file.

    Args:
        path: File that ends in ``.csv`` or ``.graphml``.
        count: Number of devices, numbered from 0 to count - 1.

    Raises:
        ScenarioError: There is no such file, or an entry is not a link between two devices.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".graphml"):
        raise ScenarioError(f"{path}: must end in .csv or .graphml")
    pairs = []
    for place, ends in lines(path, 2) if kind == ".csv" else _edges(path, count):
        a, b = (_device(end, count, place) for end in ends)
        if a == b:
            raise ScenarioError(f"{place}: a link joins two different devices (got {', '.join(ends)})")
        pairs.append((a, b))
    return pairs


def read_positions_m(path: Path, count: int) -> list[tuple[float, float]]:
    """Read the position of each device [m] from a CSV file: x and y, one device a line, in the order of numbers.

    Raises:
        ScenarioError: There is no such file, a line is not two numbers, or there are not ``count`` of them.
    """
    if path.suffix.lower() != ".csv":
        raise ScenarioError(f"{path}: must end in .csv")
    positions = []
    for place, words in lines(path, 2):
        numbers = [number(word) for word in words]
        if not all(map(math.isfinite, numbers)):
            raise ScenarioError(f"{place}: must be x, y in metres (got {', '.join(words)})")
        positions.append((numbers[0], numbers[1]))
    if len(positions) != count:
        raise ScenarioError(f"{path}: must have one line of x, y per device ({count}), got {len(positions)}")
    return positions


def _edges(path: Path, count: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the name of each edge of a GraphML file, and its ends."""
    try:
        graph = nx.read_graphml(path)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except Exception as error:  # the reader raises errors of many kinds
        raise ScenarioError(f"{path}: not readable as GraphML: {' '.join(str(error).split())}") from None
    if graph.is_directed():
        raise ScenarioError(
            f"{path}: links have no direction, so edgedefault must be 'undirected' (got 'directed')"
        )
    for node in graph:
        _device(node, count, f"{path}, node")
    for a, b in graph.edges():
        yield f"{path}, edge from {a!r} to {b!r}", (a, b)


def _device(word: str, count: int, place: str) -> int:
    if not word.isdecimal() or len(word) > 18 or int(word) >= count:
        raise ScenarioError(f"{place}: {word!r} is not the number of a device; devices are 0 to {count - 1}")
    return int(word)
