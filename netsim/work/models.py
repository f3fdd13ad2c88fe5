"""Models of nodes, kept as files that plain PyTorch reads: safetensors, with a description beside each."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from netsim.core.errors import ScenarioError
from netsim.events import MetricRow
from netsim.learner import Kept
from netsim.work.moving import move

Which = Literal["last", "best", "all"]


class Keeper:
    """Writes models after rounds, each round's in a folder of its own.

    Args:
        folder: Where to.
        which: Whether the last ones are kept, those of the round with the best mean accuracy, or all.
        every: After every so many rounds; None for none but the last.
        about: What their descriptions say besides.
    """

    def __init__(self, folder: Path, which: Which, every: int | None, about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._which = which
        self._every = every
        self._about = about
        self._best = -math.inf

    def wants(self, round: int) -> bool:
        """Return whether models after ``round`` are to be kept."""
        return self._every is not None and round % self._every == 0

    def close(self, round: int, rows: Sequence[MetricRow], models: Mapping[int, Kept]) -> None:
        """Keep the ``models`` after ``round``, by node, whose metrics are ``rows``.

        Args:
            round: The round.
            rows: Its metrics.
            models: Models with their tensors; none if that was done before the run went on.
        """
        if self._which == "best":
            found = [row.value for row in rows if row.name == "accuracy" and not row.modality]
            accuracy = fmean(found) if found else math.nan
            # Where none are to be kept, or gave way to later ones before the run went on, others are the best.
            if not accuracy > self._best or not (models or self._place(round).is_dir()):
                return
            self._best = accuracy
        if models:
            self.write(round, models)

    def end(self, models: Mapping[int, tuple[int, Kept]]) -> None:
        """Keep the ``models`` at the end of the run, each with its node's last round, unless the best are kept."""
        if self._which != "best" and models:
            rounds = {node: round for node, (round, _) in models.items()}
            self.write(max(rounds.values()), {node: kept for node, (_, kept) in models.items()}, rounds)

    def write(self, round: int, models: Mapping[int, Kept], rounds: Mapping[int, int] | None = None) -> None:
        """Write the ``models`` after ``round``; each is of that round, unless ``rounds`` says otherwise.

        Raises:
            ScenarioError: They cannot be written.
        """
        hidden, folder = self._folder / ".new", self._place(round)
        try:
            shutil.rmtree(hidden, ignore_errors=True)
            hidden.mkdir(parents=True)
            for node, kept in models.items():
                about = {**self._about, "node": node, "round": (rounds or {}).get(node, round)}
                _write(hidden / str(node), kept, about)
            shutil.rmtree(folder, ignore_errors=True)
            hidden.rename(folder)
            for old in self._folder.glob("round-*") if self._which != "all" else ():
                if old != folder:
                    shutil.rmtree(old)
        except OSError as error:
            raise ScenarioError(
                f"{folder}: models cannot be written ({error.strerror}); make room, or models.keep: none"
            ) from error

    def _place(self, round: int) -> Path:
        return self._folder / f"round-{round:06d}"


def _write(stem: Path, kept: Kept, about: Mapping[str, Any]) -> None:
    """Write a model as ``<stem>.safetensors`` and ``<stem>.json``."""
    from safetensors.torch import save_file

    tensors = {
        f"{part}.{name}": tensor.detach().contiguous().clone()
        for part, own in move(kept.parts, "cpu").items()
        for name, tensor in own.items()
    }
    save_file(tensors, stem.with_suffix(".safetensors"))
    shapes = {
        name: {"shape": list(one.shape), "dtype": str(one.dtype).removeprefix("torch.")}
        for name, one in tensors.items()
    }
    text = json.dumps({**about, "network": kept.network, "tensors": shapes}, indent=2)
    stem.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
