"""Random numbers that a network draws in its forward pass (dropout, noise), from a stream of each job's own.

PyTorch's operators draw from one global generator unless they are given another, and layers such as ``nn.Dropout``
cannot be given one. All threads share the global generator. So the numbers of a job would depend on the jobs that run
at the same time. Here each random operator that a job calls is given a generator of that job.
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

from learners.networks.dispatch import EagerMode
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed

T = TypeVar("T")

_known: set[Hashable] = set()
"""Networks that have drawn random numbers in this process."""

_global = threading.Lock()
"""Held while the global generator has the state of a job's own, for operators that take no generator."""


class DrawingFrom(EagerMode):
    """Context in which random operators called on this thread draw from generators of the context.

    An operator that was given a generator by the network uses that one. There is one generator for each PyTorch device,
    all with the same seed.

    Attributes:
        drawn: Whether any operator has drawn a number.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    @property
    def drawn(self) -> bool:
        """Return whether any operator has drawn a number."""
        fresh = (torch.Generator(device).manual_seed(self._seed) for device in self._generators)
        return any(
            not own.get_state().equal(new.get_state())
            for own, new in zip(self._generators.values(), fresh, strict=True)
        )

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``operator``, with the context's generator if it is random; see :class:`EagerMode`.

        Raises:
            ScenarioError: It is random, and the backward pass calls it to repeat a part of the forward pass.
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
        """Return the generator of the device on which the operator works."""
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
    """Return the form of ``operator`` that takes a generator and the place of that argument; None if none does."""
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
    """Return ``draw()``, called while the device's global generator has the state of ``own``."""
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
    """Wrap ``job`` so that its networks draw random numbers from the stream ``forward`` of its ``seed``.

    It takes time to intercept every operator. So a job is first done without. If PyTorch's global generator has moved
    meanwhile, the job is done again with :class:`DrawingFrom`, and this second result is returned. Later jobs with a
    network that draws are done with :class:`DrawingFrom` at once. If another thread has moved the generator, the second
    result equals the first.

    Args:
        job: A pure function of its inputs; its input ``seed`` is removed if the function does not take it.
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
