"""Samples that everybody has: of a data set of its own, or a part of the private one that was set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from learners.training.task import Store, Task, store_of
from netsim.core.errors import ScenarioError

if TYPE_CHECKING:
    from learners.data.choice import DataChoice
    from netsim.learner import Setup


@dataclass(frozen=True)
class PublicSet:
    """Public samples, all in one place.

    Attributes:
        store: The tensors.
        modality: Which of them are the networks' inputs.
        rows: The samples in it, int64 [samples], on the CPU.
    """

    store: Store
    modality: str
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def inputs(self, places: Tensor, dtype: torch.dtype) -> Tensor:
        """Network inputs [*places.shape, ...] of the samples at ``places`` (on the CPU), without randomness."""
        rows = self.rows[places].to(self.store.labels.device)
        return self.store.seen(self.modality, rows.flatten(), dtype).unflatten(0, rows.shape)

    def labels(self, places: Tensor) -> Tensor:
        """Their labels in their own data set, int64."""
        return self.store.labels[self.rows[places].to(self.store.labels.device)]


@dataclass(frozen=True)
class PublicData:
    """Public samples before they are where the work is done.

    Attributes:
        store: The tensors; None if they are those of the private samples.
        modality: Which of them are the networks' inputs.
        rows: The samples in it, int64 [samples], on the CPU.
        name: Of the data set.
        classes: Names of its classes.
        surrogate: Whether it stands in for one that is not here.
    """

    store: Store | None
    modality: str
    rows: Tensor
    name: str
    classes: tuple[str, ...]
    surrogate: bool

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a run's metadata says of them."""
        return {"name": self.name, "samples": len(self.rows), "surrogate": self.surrogate}

    def placed_with(self, private: Store) -> PublicSet:
        """Return the samples where the work is done, which has the ``private`` ones."""
        return PublicSet(private if self.store is None else self.store, self.modality, self.rows)


def load_public(choice: DataChoice | None, task: Task, modality: str, setup: Setup) -> PublicData:
    """Find the public samples and see that the devices' networks can take them.

    Args:
        choice: ``learner.public``; None for what ``partition.public_share`` has set aside.
        task: The private data.
        modality: The devices' one modality.
        setup: What the learner is built from.

    Raises:
        ScenarioError: There are none, or they are of another shape.
    """
    if choice is None:
        if not len(task.public):
            raise ScenarioError(
                "learner.public: this learner distils with samples that everybody has, and there are none; name a data "
                "set, as in public: {name: mnist, root: ...}, or set a part of the training samples aside with "
                "partition.public_share"
            )
        data = task.dataset
        return PublicData(
            None,
            modality,
            torch.as_tensor(task.public, dtype=torch.int64),
            f"{data.name}, set aside",
            data.classes,
            data.surrogate,
        )
    if len(task.public):
        raise ScenarioError(
            "learner.public: a data set is named, and partition.public_share sets samples aside too; leave one of "
            "them out"
        )
    source = choice.source()
    try:
        source.check()
        data = source.loaded(setup.seed, setup.cache_dir, setup.say)
    except ScenarioError as error:
        raise ScenarioError(f"learner.public: {error}") from error
    named = modality if modality in data.modalities else data.modalities[0]
    store = store_of(data, (named,), setup.torch_device)
    first = torch.zeros(1, dtype=torch.int64, device=store.labels.device)
    found = tuple(store.seen(named, first, torch.float32).shape[1:])
    wanted = task.input_shapes[modality]
    if found != wanted:
        raise ScenarioError(
            f"learner.public: samples of {data.name} have shape {list(found)}, but the devices' {modality} samples "
            f"have {list(wanted)}; use a data set of that shape, or bring both to one size with the option size"
        )
    rows = torch.as_tensor(data.train, dtype=torch.int64)
    return PublicData(store, named, rows, data.name, data.classes, data.surrogate)
