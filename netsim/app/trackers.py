"""Passes a run's numbers on to TensorBoard, MLflow or Weights & Biases, round by round; without a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.events import Observer
from netsim.records.totals import Totals


class Tracker(Observer, ABC):
    """An observer that logs the sums of a run when a round closes.

    What it cannot log it gives up, for the run has its own records.

    Args:
        totals: Sums of the run, which observe it before this does.

    Attributes:
        problem: Why it logs no more; empty if it does.
    """

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self.problem = ""

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Log accuracies, other metrics, simulated time, energy and deaths."""
        totals = self._totals
        values = {
            "simulated_s": time_s,
            "energy_per_device_j": totals.closed_energy_j,
            "dead": totals.closed_dead,
        }
        for name, by_modality in totals.metrics.items():
            values |= {f"{name}/{modality}": ends["last"] for modality, ends in by_modality.items()}
        by_round = totals.mean_accuracy()
        if by_round:
            values["accuracy"] = by_round[max(by_round)]
        if not self.problem:
            try:
                self.log(values, round)
            except Exception as error:
                self.problem = f"{type(self).__name__} logged no more from round {round} on: {error}"

    def end(self, finished: bool) -> None:
        """End the log of a run that has ``finished``, or failed, or was stopped."""
        try:
            self.close(finished)
        except Exception as error:
            self.problem = self.problem or f"{type(self).__name__} did not end: {error}"

    @abstractmethod
    def log(self, values: Mapping[str, float], round: int) -> None:
        """Log numbers of a round by name."""

    @abstractmethod
    def close(self, finished: bool) -> None:
        """Close the log, which says whether the run has finished where it can."""


def by_key(block: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the values of nested blocks by their whole key, such as ``learner.name``."""
    found: dict[str, Any] = {}
    for key, value in block.items():
        found |= (
            by_key(value, f"{above}{key}.") if isinstance(value, Mapping) and value else {above + key: value}
        )
    return found


class TensorBoard(Tracker):
    """Event files in the run's folder: ``tensorboard --logdir runs`` shows them."""

    def __init__(self, totals: Totals, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(totals)
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, values: Mapping[str, float], round: int) -> None:
        """Log numbers of a round by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, round)

    def close(self, finished: bool) -> None:
        """Close the files."""
        self._writer.close()


class MLflow(Tracker):
    """An MLflow run in the store that ``MLFLOW_TRACKING_URI`` names, or in ``mlflow.db`` in the folder of runs.

    MLflow is told to report to nobody that it is used, and not to speak of its tables.
    """

    def __init__(self, totals: Totals, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(totals)
        import logging
        import os

        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._mlflow = mlflow
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{(folder.parents[1] / 'mlflow.db').resolve()}")
        mlflow.set_experiment(folder.parent.name)
        mlflow.start_run(run_name=folder.name)
        mlflow.log_params({key: str(value)[:500] for key, value in by_key(settings).items()})

    def log(self, values: Mapping[str, float], round: int) -> None:
        """Log numbers of a round by name."""
        self._mlflow.log_metrics(dict(values), step=round)

    def close(self, finished: bool) -> None:
        """End MLflow's run."""
        self._mlflow.end_run("FINISHED" if finished else "FAILED")


class WandB(Tracker):
    """A Weights & Biases run, offline in the run's folder: ``wandb sync`` uploads it if you ask for it."""

    def __init__(self, totals: Totals, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(totals)
        import os

        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to its makers; read when it is imported
        import wandb

        self._run = wandb.init(
            project=folder.parent.name,
            name=folder.name,
            dir=str(folder),
            mode="offline",
            config=dict(settings),
            settings=wandb.Settings(silent=True),
        )

    def log(self, values: Mapping[str, float], round: int) -> None:
        """Log numbers of a round by name."""
        self._run.log(dict(values), step=round)

    def close(self, finished: bool) -> None:
        """End its run."""
        self._run.finish(exit_code=0 if finished else 1)


TRACKERS: dict[str, type[TensorBoard | MLflow | WandB]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
"""Trackers by the name of their package."""


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers are known and installed, before anything runs.

    Raises:
        ScenarioError: One is not.
    """
    for name in names:
        if name not in TRACKERS:
            raise ScenarioError(f"--track {name}: unknown; there are {', '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise ScenarioError(f"--track {name}: is not installed; pip install {name}")
