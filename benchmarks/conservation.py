"""Tries hundreds of random small worlds, of all access methods, against what no world may break.

    python benchmarks/conservation.py --worlds 300

Joules drawn = recorded; bits sent = delivered + lost; no radio does two things that it cannot; clocks never run back;
nobody dead acts; the same seed gives the same records. The worlds and checks are those of
tests/netsim/test_conservation.py, which CI runs with twenty; here they are others each time, and a world that fails is
made as small as it can be and printed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

TEST = Path(__file__).parents[1] / "tests/netsim/test_conservation.py"


def main(
    worlds: Annotated[int, typer.Option(min=1, help="number of worlds")] = 300,
    seed: Annotated[int | None, typer.Option(help="seed of the worlds; drawn unless said")] = None,
) -> None:
    """Try them."""
    os.environ["NETSIM_WORLDS"] = str(worlds)
    chosen = [] if seed is None else [f"--hypothesis-seed={seed}"]
    sys.exit(
        pytest.main(["-q", "-p", "no:cacheprovider", "--hypothesis-show-statistics", *chosen, str(TEST)])
    )


if __name__ == "__main__":
    typer.run(main)
