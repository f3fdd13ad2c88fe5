"""Random numbers that a network draws in its forward pass (dropout, noise), from a stream of the job's own.

PyTorch's operators draw from one global generator unless they are given another, and layers such as ``nn.Dropout``
cannot be given one. All threads share it, so what a job draws would depend on who else is at work. Here each random
operator that is called on a thread is given that thread's generator, on its way to the kernel.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from functools import cache, wraps
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed

T = TypeVar("T")

_known: set[Hashable] = set()
"""Networks that were seen to draw, in this process."""

_global = threading.Lock()
"""Held while a global generator stands in for one of ours, for the few operators that take no other."""


class DrawingFrom(TorchDispatchMode):
    """While it lasts, random operators called on this thread draw from generators of its own.

    Those that are handed a generator keep it. On each PyTorch device there is one generator, seeded alike.

    Attributes:
        drawn: Whether any operator has drawn a number.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    @property
    def drawn(self) -> bool:
        """Whether any operator has drawn a number."""
        fresh = (torch.Generator(device).manual_seed(self._seed) for device in self._generators)
        return any(
            not own.get_state().equal(new.get_state())
            for own, new in zip(self._generators.values(), fresh, strict=True)
        )

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``operator``; see :class:`TorchDispatchMode`.

        Raises:
            ScenarioError: It is random, and called by a backward pass that goes forward once more.
        """
        kwargs = kwargs or {}
        if not _is_random(operator):
            return operator(*args, **kwargs)
        if torch._C._current_graph_task_id() != -1:
            raise ScenarioError(
                "learner.networks: a network draws random numbers in its backward pass, as torch.utils.checkpoint does "
                "for layers like dropout; these would be others than in the forward pass. Leave the checkpoints out"
            )
        own = self._generator(args, kwargs)
        seeded, place = _seeded(operator)
        if seeded is None:
            return _in_place_of_the_global(own, lambda: operator(*args, **kwargs))
        given = args[place] if len(args) > place else kwargs.get("generator")
        return seeded(*args[:place], **{**kwargs, "generator": own if given is None else given})

    def _generator(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Generator:
        """The generator where the operator works."""
        tensors = (value.device for value in args if isinstance(value, Tensor))
        device = torch.device(next(tensors, None) or kwargs.get("device") or "cpu")
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


@cache
def _is_random(operator: OpOverload) -> bool:
    return torch.Tag.nondeterministic_seeded in operator.tags


@cache
def _seeded(operator: OpOverload) -> tuple[OpOverload | None, int]:
    """The form of ``operator`` that takes a generator, and the place of that argument; None if there is none."""
    names = [argument.name for argument in operator._schema.arguments]
    packet = operator.overloadpacket
    for form in (operator, *(getattr(packet, name) for name in packet.overloads())):
        theirs = form._schema.arguments
        place = next((i for i, argument in enumerate(theirs) if argument.name == "generator"), None)
        if place is None:
            continue
        if form is operator or [a.name for a in theirs if a.name != "generator"] == names:
            return form, sum(not a.kwarg_only for a in theirs[:place]) if theirs[place].kwarg_only else place
    return None, 0


def _in_place_of_the_global(own: torch.Generator, draw: Callable[[], T]) -> T:
    """Let the device's global generator be ``own`` while ``draw`` is called."""
    device = own.device
    generator = torch.default_generator
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generator = torch.cuda.default_generators[index]
    with _global:
        before = generator.get_state()
        generator.set_state(own.get_state())
        try:
            return draw()
        finally:
            own.set_state(generator.get_state())
            generator.set_state(before)


def drawing_from_its_seed(job: Callable[..., T]) -> Callable[..., T]:
    """Have ``job`` draw what its networks draw from the stream ``forward`` of its ``seed``.

    Watching every operator takes time, so a job is done as it is first. If that has moved PyTorch's global generator it
    is done again and watched, which gives what counts; and so are, from the beginning, later jobs of the same
    architecture. Somebody else on another thread may have moved it: the second time gives the same result then.

    Args:
        job: A pure function of its inputs; ``seed`` need not be one that it takes itself.
    """
    names = tuple(signature(job).parameters)

    @wraps(job)
    def watched(*given: Any, **named: Any) -> T:
        inputs = {**dict(zip(names, given, strict=False)), **named}
        seed = inputs.get("seed", 0)
        if "seed" not in names:
            inputs.pop("seed", None)
        network = (job.__qualname__, getattr(inputs.get("architecture"), "text", None))
        if network not in _known:
            before = _global_states(inputs.get("torch_device", "cpu"))
            result = job(**inputs)
            after = _global_states(inputs.get("torch_device", "cpu"))
            if all(one.equal(other) for one, other in zip(before, after, strict=True)):
                return result
        with DrawingFrom(derive_seed(seed, "forward")) as mode:
            result = job(**inputs)
        if mode.drawn:
            _known.add(network)
        return result

    return watched


def _global_states(torch_device: str) -> list[Tensor]:
    states = [torch.default_generator.get_state()]
    if torch_device.startswith("cuda"):
        states.append(torch.cuda.get_rng_state(torch_device))
    return states
