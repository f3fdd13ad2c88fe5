"""The contract of a partition: who has which samples and modalities, and what is wrong with them."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from learners.data.broken import as_held
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions, Options
from netsim.core.streams import stream

if TYPE_CHECKING:
    from learners.data.dataset import MultimodalDataset, Share


class Split(NamedTuple):
    """A division of a data set's training rows.

    Attributes:
        shares: The data of each device.
        public: Rows of the public data, which all devices may use and none owns; int64.
        data: The data set as the devices hold it, with wrong labels and broken modalities.
    """

    shares: list[Share]
    public: np.ndarray
    data: MultimodalDataset


class Partition(ABC):
    """A rule that divides a data set's training rows and modalities among devices.

    Attributes:
        Options: The model of the scenario's ``partition`` block.
        by_class: Whether it deals by classes, and not data with real-valued labels.
    """

    Options: ClassVar[type[Options]] = NoOptions
    by_class: ClassVar[bool] = False

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        """Return one share per device.

        Raises:
            ScenarioError: A device would get no sample, or a modality has no owner.
        """

    def split(self, data: MultimodalDataset, device_count: int, seed: int) -> Split:
        """Set the part ``public_share`` of the training rows aside, if the options have one, and deal the rest.

        Then break what ``wrong_labels`` and ``broken_modality`` say, if the options have them.

        Raises:
            ScenarioError: See :meth:`deal` and :func:`learners.data.broken.as_held`; or it needs classes, and there
                are none.
        """
        of = self.options
        for key, needed in (
            ("", self.by_class),
            (".wrong_labels", getattr(of, "wrong_labels", None) is not None),
        ):
            if needed and data.real_valued:
                raise ScenarioError(
                    f"partition{key}: is about classes, and the labels of {data.name} are real numbers; use partition "
                    "iid or natural" + (", and leave it out" if key else "")
                )
        share, rest, public = getattr(of, "public_share", 0.0), data, data.train[:0]
        if share:
            order = stream(seed, "partition", "public").permutation(data.train)
            count = int(share * len(order) + 0.5)
            rest, public = dataclasses.replace(data, train=np.sort(order[count:])), np.sort(order[:count])
        shares = self.deal(rest, device_count, seed)
        wrong, broken = getattr(of, "wrong_labels", None), getattr(of, "broken_modality", None)
        return Split(shares, public, as_held(data, shares, wrong, broken, seed))
