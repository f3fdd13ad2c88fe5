"""Writing of a run's figures into its folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from matplotlib.figure import Figure

from analysis.plots.accuracy import accuracy_figure
from analysis.plots.anatomy import anatomy_figure
from analysis.plots.iterations import iterations_figure
from analysis.plots.metrics import metrics_figure
from analysis.plots.motion import motion_figure
from analysis.plots.network import network_figure
from analysis.plots.style import for_paper
from analysis.plots.transfers import transfers_figure
from analysis.runs.checksums import add_checksums
from analysis.runs.run import Run
from analysis.runs.whole import write_whole

FIGURES: dict[str, Callable[[Run], Figure | None]] = {
    "accuracy": accuracy_figure,
    "anatomy": anatomy_figure,
    "iterations": iterations_figure,
    "metrics": metrics_figure,
    "motion": motion_figure,
    "network": network_figure,
    "transfers": transfers_figure,
}


def save_plots(
    run: Run,
    suffix: str = "png",
    names: Sequence[str] | None = None,
    columns: int | None = None,
    folder: Path | None = None,
) -> list[Path]:
    """Write every figure for which the run has records into ``<run>/plots/``.

    Args:
        run: The run.
        suffix: ``png``, ``pdf`` or ``svg``.
        names: Names of figures; None for all of :data:`FIGURES`.
        columns: Draw them for so many columns of an IEEE journal, 1 or 2; None: in the plain style.
        folder: Where to, instead.

    Returns:
        The files written.
    """
    written = []
    with nullcontext() if columns is None else for_paper(columns):
        for name in FIGURES if names is None else names:
            figure = FIGURES[name](run)
            if figure is not None:
                written.append(save_figure(figure, (folder or run.folder / "plots") / f"{name}.{suffix}"))
    add_checksums(run.folder, written)
    return written


def save_figure(figure: Figure, path: Path) -> Path:
    """Write one figure at print resolution and return its path.

    Raises:
        OSError: There is no room for it, say; what was there stays.
    """
    image = io.BytesIO()  # Matplotlib ends a PDF that it cannot write with another error
    figure.savefig(image, dpi=300, format=path.suffix.removeprefix("."))
    return write_whole(path, image.getvalue())
