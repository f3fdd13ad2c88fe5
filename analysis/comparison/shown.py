"""A comparison on the screen or as text, and its figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from analysis.comparison.formats import FORMATS
from analysis.comparison.groups import groups_by
from analysis.comparison.pareto import pareto_figure
from analysis.comparison.tables import difference_table, differences, side_by_side
from analysis.plots.save import save_figure
from analysis.runs.files import RunError
from analysis.runs.run import Run
from analysis.runs.terminal import show_table
from analysis.tables import FUSED

IMAGES = (".png", ".pdf", ".svg")
SCREEN = "screen"


def show(
    runs: Sequence[Run],
    by: Sequence[str],
    targets: Sequence[float],
    against: str | None,
    modality: str,
    format: str,
    figure: Path | None,
    out: Console,
) -> None:
    """Print groups of runs side by side and their paired differences; draw the Pareto front if asked to.

    Args:
        runs: The runs.
        by: Keys that tell groups apart.
        targets: Accuracies, from 0 to 1, to report hours and joules to.
        against: The group that others are compared with; None: the first.
        modality: Whose accuracy is compared.
        format: ``screen``, or a name in :data:`FORMATS`.
        figure: Image file of the front; None: it is not drawn.
        out: Console to print to.

    Raises:
        RunError: The runs cannot be grouped so, a name is unknown, or the figure cannot be written.
    """
    if figure is not None and figure.suffix not in IMAGES:
        raise RunError(f"--figure: must end in {', '.join(IMAGES)} (got {str(figure)!r})")
    if format not in (SCREEN, *FORMATS):
        raise RunError(f"--format: must be {SCREEN}, {', '.join(FORMATS)} (got {format!r})")
    groups = groups_by(runs, by)
    reference = against or next(iter(groups))
    if reference not in groups:
        raise RunError(f"--against {reference}: no such group; there are {', '.join(groups)}")
    known = sorted({str(name) or FUSED for run in runs for name in run.metrics["modality"].unique()})
    if known and modality not in known:
        raise RunError(f"--modality {modality}: not measured; there are {', '.join(known)}")
    tables = [("Groups", side_by_side(groups, targets, modality))]
    if len(groups) > 1:
        found = differences(groups, reference, targets, modality)
        tables.append(("Paired by seed", difference_table(found, reference)))
    for caption, table in tables:
        if format == SCREEN:
            show_table(out, table, caption)
        else:
            out.out(FORMATS[format](table, caption), highlight=False)
    if any(run.surrogate for run in runs) and format == SCREEN:
        out.out("surrogate data: accuracies say nothing about the real data set", highlight=False)
    if figure is not None:
        try:
            save_figure(pareto_figure(groups, modality), figure)
        except OSError as error:
            raise RunError(f"--figure: {figure}: {error.strerror or error}") from error
        out.out(f"wrote {figure}", highlight=False)
