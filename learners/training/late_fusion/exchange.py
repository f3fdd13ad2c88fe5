"""Models and uploads: arrangements of values and futures of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from learners.networks.late_fusion import LateFusion, module_path
from learners.training.kept import filled, kept, rebuilt
from learners.training.late_fusion.aggregate import Update
from netsim.learner import Kept


class Model(NamedTuple):
    """A node's model; also what the server sends.

    Attributes:
        number: The round after which it is the node's; 0 for the first.
        parts: Its parts by name, or a future of them.
        head_weights: z, how much each head's loss counts in training, by modality and for the fused head; or a future.
        memory: What the node remembers besides; or a future. A server sends it where its method says so.
    """

    number: int
    parts: Any
    head_weights: Any
    memory: Any = None


class Upload(NamedTuple):
    """A model as a client has trained it.

    Attributes:
        number: Of the model that it began with.
        before: That model's parts, or a future of them.
        trained: A :class:`learners.training.late_fusion.local_update.Trained`, or a future of one.
        more: What a method sends besides the model; or a future.
    """

    number: int
    before: Any
    trained: Any
    more: Any = None

    @property
    def update(self) -> Update:
        """Return the client's model before and after training, which is done."""
        return Update(self.before, self.trained.state)


def kept_model(architecture: LateFusion, parts: Mapping[str, Any]) -> Kept:
    """Return a model for files; ``parts`` may be futures."""
    return kept(architecture, {module_path(part): one for part, one in parts.items()})


def module_of(network: Mapping[str, Any], tensors: Mapping[str, Any]) -> Any:
    """Return the network of a model that was kept."""
    return filled(rebuilt(LateFusion, network).build(), tensors)
