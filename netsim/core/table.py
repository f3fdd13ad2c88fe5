"""Reading of a user's CSV files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from netsim.core.errors import ScenarioError

COUNTS = {2: "two", 3: "three"}


def lines(path: Path, columns: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the place of each line of a CSV file and its words; a heading, empty lines and comments are skipped.

    Raises:
        ScenarioError: There is no such file, it is no text, or a line has not so many ``columns``.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: cannot be read as text: {error}") from None
    heading = True  # until the first line of numbers
    for count, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = [word.strip().strip('"') for word in line.split(",")]
        if len(words) != columns:
            between = "a comma" if columns == 2 else "commas"
            raise ScenarioError(
                f"{path}, line {count}: must be {COUNTS[columns]} values with {between} between them (got {line!r})"
            )
        if not heading or not all(math.isnan(number(word)) for word in words):
            yield f"{path}, line {count}", words
        heading = False


def rows_of_numbers(path: Path, columns: int) -> Iterator[tuple[str, Sequence[float]]]:
    """Yield the place of each line of a CSV file and its numbers, of which only the last may be infinite.

    Raises:
        ScenarioError: As :func:`lines`, or something is not a number.
    """
    for place, words in lines(path, columns):
        numbers = [number(word) for word in words]
        if not all(map(math.isfinite, numbers[:-1])) or math.isnan(numbers[-1]):
            raise ScenarioError(f"{place}: must be numbers (got {', '.join(words)})")
        yield place, numbers


def number(word: str) -> float:
    """Return ``word`` as a number; nan if it is none."""
    try:
        return float(word)
    except ValueError:
        return math.nan
