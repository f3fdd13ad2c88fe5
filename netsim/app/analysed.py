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
    from analysis.notebook import load_run
    from analysis.runs.files import RunError

    try:
        return load_run(folder)
    except RunError as error:
        raise ScenarioError(str(error)) from None


def draw_run(folder: Path, errors: Console) -> Run | None:
    """Draw the run in ``folder`` into it and return its records; a figure that fails is a note, the run is recorded."""
    from analysis.plots import save_plots
    from analysis.runs.run import load_run

    try:
        run = load_run(folder)
        save_plots(run)
    except Exception as error:
        errors.out(f"note: no plots: {type(error).__name__}: {error}", highlight=False)
        return None
    return run


def sentence_of(folder: Path, known: Run | None = None) -> str:
    """Return what came out of the run in ``folder``, in two or three sentences; nothing if its records are strange.

    Args:
        folder: The run's folder.
        known: Its records, if they are read already.
    """
    from analysis.runs.run import load_run
    from analysis.sentence import sentence

    try:
        return sentence(known or load_run(folder))
    except Exception:  # the run is recorded, and its numbers are shown: a sentence less is no loss
        return ""


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


def write_report(runs: list[Run], path: Path) -> None:
    """Write the page about ``runs`` to ``path``.

    Raises:
        ScenarioError: The file cannot be written, or two runs are one scenario with one seed.
    """
    from analysis.page.write import write_page
    from analysis.runs.files import RunError

    try:
        write_page(runs, path)
    except RunError as error:
        raise ScenarioError(str(error)) from None
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}; --out names another file") from error


def compared(
    runs: list[Run],
    by: list[str],
    targets: list[float],
    against: str | None,
    modality: str,
    format: str,
    figure: Path | None,
    out: Console,
) -> None:
    """Print groups of runs side by side and their paired differences; draw the Pareto front if ``figure`` says where.

    Raises:
        ScenarioError: The runs cannot be grouped so, a name is unknown, or the figure cannot be written.
    """
    from analysis.comparison.shown import show
    from analysis.runs.files import RunError

    try:
        show(runs, by, targets, against, modality, format, figure, out)
    except RunError as error:
        raise ScenarioError(str(error)) from None


def draw_figures(
    folder: Path, names: list[str], suffix: str, columns: int | None, out: Path | None
) -> list[Path]:
    """Draw figures of a run, by name or all; ``columns`` of a journal, or None for the plain style.

    Raises:
        ScenarioError: It is no run's folder, a name is unknown, or a file cannot be written.
    """
    from analysis.plots.save import FIGURES, save_plots

    run = loaded(folder)
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise ScenarioError(f"{unknown[0]}: no such figure; there are {', '.join(FIGURES)}")
    try:
        written = save_plots(run, suffix, names or None, columns, out)
    except OSError as error:
        raise ScenarioError(
            f"{error.filename or out}: {error.strerror or error}; --out names a folder"
        ) from error
    if names and not written:
        raise ScenarioError(f"{folder}: has no records for {', '.join(names)}")
    return written


def watched(folder: Path, out: Console, every_s: float, once: bool) -> None:
    """Show the run in ``folder`` until it ends, looking every ``every_s`` seconds; with ``once`` show it once.

    Raises:
        ScenarioError: It is no run's folder.
    """
    from analysis.runs.files import RunError
    from analysis.watch import watch

    try:
        watch(folder, out, every_s, once)
    except RunError as error:
        raise ScenarioError(str(error)) from None
