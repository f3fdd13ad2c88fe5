"""Work of analysis for the commands: records, figures and verification of a run, and the figure of a partition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsim.core.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from analysis.runs.run import Run


def loaded(folder: Path) -> Run:
    """Return the records of the run in ``folder``.

    Raises:
        ScenarioError: It is no run's folder, or a file in it cannot be read.
    """
    from analysis.runs.files import RunError
    from analysis.runs.run import load_run

    try:
        return load_run(folder)
    except RunError as error:
        raise ScenarioError(str(error)) from None


def draw_run(folder: Path, errors: Console) -> None:
    """Draw the run in ``folder`` into it; a figure that fails is a note, for the run is recorded."""
    from analysis.plots import save_plots
    from analysis.runs.run import load_run

    try:
        save_plots(load_run(folder))
    except Exception as error:
        errors.out(f"note: no plots: {type(error).__name__}: {error}", highlight=False)


def draw_partition(frame: pd.DataFrame, data: Any, heading: str, image: Path) -> None:
    """Draw what each device holds into the file ``image``.

    Raises:
        ScenarioError: The file cannot be written.
    """
    from analysis.plots.partition import partition_figure
    from analysis.plots.save import save_figure

    try:
        save_figure(partition_figure(frame, data.classes, data.modalities, heading, data.surrogate), image)
    except OSError as error:
        raise ScenarioError(f"--out: {image}: {error.strerror or error}") from error


def wrong_with(folder: Path) -> list[str]:
    """Return what is wrong with the run in ``folder``, a line each.

    Raises:
        ScenarioError: It is no run's folder.
    """
    from analysis.runs.files import RunError
    from analysis.verify import verify

    try:
        return [f"{folder}: {line}" for line in verify(folder)]
    except RunError as error:
        raise ScenarioError(str(error)) from None
