"""Models that a run has kept, and the samples that they were tested on, for plain PyTorch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from netsim.app.dealing import deal
from netsim.core.errors import ScenarioError
from netsim.records.run_folder import MODELS
from netsim.scenario.loading import Plan, load_plan


def load_model(run: str | Path, device: int | None = None, round: int | None = None) -> Any:
    """Return a model that a run has kept (``models.keep``), as a PyTorch module in evaluation mode.

    Its ``logits`` take samples by modality, as :func:`load_test` returns them.

    Args:
        run: The run's folder.
        device: Whose model; None for the only one, such as the server's.
        round: After which round; None for the last that was kept.

    Raises:
        ScenarioError: The run has no such model.
    """
    folder = Path(run) / MODELS
    rounds = _numbered(folder.glob("round-*"), "round-")
    if not rounds:
        raise ScenarioError(f"{run}: has kept no models; run it with --set models.keep=last")
    if round is not None and round not in rounds:
        raise ScenarioError(f"{run}: has no models after round {round}; it has {_listed(rounds)}")
    chosen = rounds[max(rounds) if round is None else round]
    nodes = _numbered(chosen.glob("*.json"))
    if device is None and len(nodes) == 1:
        (device,) = nodes
    if device not in nodes:
        raise ScenarioError(
            f"{chosen}: has models of nodes {_listed(nodes)}; device: choose one (got {device})"
        )
    cls = _plan(run).parts["learner"].cls
    from safetensors.torch import load_file

    file = nodes[device]
    try:
        network = json.loads(file.read_text(encoding="utf-8"))["network"]
        return cls.module(network, load_file(file.with_suffix(".safetensors")))
    except Exception as error:  # of a damaged file: of many kinds
        raise ScenarioError(
            f"{file}, or {file.stem}.safetensors beside it: is no model that this version of learner "
            f"{cls.__name__} can build ({type(error).__name__}: {' '.join(str(error).split()):.300})"
        ) from error


def _numbered(paths: Iterable[Path], before: str = "") -> dict[int, Path]:
    """Return the paths whose names are a number, but for what is ``before`` it, in order of numbers."""
    found = {path.stem.removeprefix(before): path for path in paths}
    return {int(text): found[text] for text in sorted(found) if text.isdecimal()}


def load_test(run: str | Path, cache: str | Path = ".cache") -> tuple[Mapping[str, Any], Any]:
    """Return the test samples of a run, as its models are evaluated on: inputs by modality, and labels [samples].

    Args:
        run: The run's folder.
        cache: Folder for pre-processed data.

    Raises:
        ScenarioError: Its data is not here.
    """
    data, _ = deal(_plan(run), Path(cache), lambda text: None)
    return data.tested()


def _plan(run: str | Path) -> Plan:
    return load_plan(Path(run) / "scenario.yaml")


def _listed(numbers: Mapping[int, Any]) -> str:
    found = sorted(numbers)
    return ", ".join(map(str, found[:20])) + (f" and {len(found) - 20} more" if len(found) > 20 else "")
