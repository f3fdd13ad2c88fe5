"""Choice of the network of each modality, and the model built from it, as values that can be sent to workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar

from learners.choice import Choice
from netsim.core.errors import ScenarioError
from netsim.core.own_code import with_its_place
from netsim.core.registry import load

if TYPE_CHECKING:
    from learners.networks.network import Trunk


class NetworkChoice(Choice):
    """A network by name, with its options beside it: ``{name: small_resnet, widths: [16, 32]}``."""

    KIND: ClassVar[str] = "networks"

    def build(self, input_shape: tuple[int, ...]) -> Trunk:
        """Build a new trunk; see :meth:`learners.networks.network.Network.build`. Lazy layers get their sizes.

        Raises:
            ScenarioError: The network or its lazy layers cannot take such inputs, or it does not build a trunk.
        """
        import torch
        from torch.nn.parameter import is_lazy

        from learners.networks.network import Trunk
        from learners.networks.one_sample import takes_one_sample

        network = load(self.KIND, self.name)
        try:
            trunk = network(network.Options.model_validate(self.options)).build(input_shape)
        except ScenarioError:
            raise
        except Exception as error:
            raise ScenarioError(
                f"network {self.name!r} cannot be built for samples {list(input_shape)}: {with_its_place(error)}"
            ) from error
        size = getattr(trunk, "feature_count", None)
        if not isinstance(trunk, Trunk) or not isinstance(size, int) or size < 1:
            raise ScenarioError(
                f"network {self.name!r} builds a {type(trunk).__name__} with feature_count {size!r}; it must be a "
                "learners.networks.network.Trunk whose feature_count is a whole number, at least 1"
            )
        for tensor in (*trunk.parameters(), *trunk.buffers()):
            if tensor.is_floating_point():  # as it will be in a state
                tensor.data = tensor.data.to(torch.get_default_dtype())
        if any(is_lazy(tensor) for tensor in (*trunk.parameters(), *trunk.buffers())):
            try:
                with torch.no_grad():
                    trunk.eval()(torch.zeros(2, *input_shape))
            except Exception as error:
                raise ScenarioError(
                    f"network {self.name!r} has lazy layers, which find no sizes with inputs {list(input_shape)} "
                    f"({with_its_place(error)}); state the sizes where the layers are made"
                ) from error
            trunk.train()
        return takes_one_sample(trunk)


DEFAULTS = {
    1: NetworkChoice(name="mlp"),
    3: NetworkChoice(name="small_resnet"),
    4: NetworkChoice(name="r3d_18"),
}
"""Default network by the number of axes of a sample: vectors, images, clips."""


def choose(
    choices: Mapping[str, NetworkChoice],
    input_shapes: Mapping[str, tuple[int, ...]],
    known: Collection[str],
) -> dict[str, NetworkChoice]:
    """Return a network for each modality in use; a small default if the scenario names none.

    Args:
        choices: Networks that the scenario names, by modality.
        input_shapes: Shape of one sample of each modality in use.
        known: All modalities of the data; a choice for one that is not in use is no error.

    Raises:
        ScenarioError: A network is chosen for a modality that the data does not have.
    """
    unknown = sorted(set(choices) - set(known))
    if unknown:
        raise ScenarioError(
            f"learner.networks: the data has no modality {', '.join(map(repr, unknown))}; "
            f"it has: {', '.join(known)}"
        )
    return {m: choices.get(m, DEFAULTS.get(len(shape), DEFAULTS[1])) for m, shape in input_shapes.items()}
