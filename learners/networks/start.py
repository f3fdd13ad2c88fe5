"""Starts training from weights of a file, and keeps parts as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from netsim.core.errors import ScenarioError, reason

if TYPE_CHECKING:
    from learners.training.options import InitialOptions

MOST_NAMED = 3
"""Names in a line of an error."""


def freeze(net: nn.Module, parts: Collection[str]) -> None:
    """Keep the ``parts`` of ``net``, names or beginnings of names, as they are.

    Their weights get no gradient, their modules stay in evaluation mode, and their running statistics belong to the
    device alone, as :func:`learners.networks.state.layout_of` sees.
    """
    for name, weight in net.named_parameters():
        if is_in(name, parts):
            weight.requires_grad_(False)
    for name, module in net.named_modules():
        if is_in(name, parts):
            module.eval()
            module.train = _Stays(module)


class _Stays:
    """``train`` of a module that stays in evaluation mode."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, mode: bool = True) -> nn.Module:
        return self._module


def is_frozen(module: nn.Module) -> bool:
    """Return whether ``module`` stays in evaluation mode."""
    return isinstance(module.train, _Stays)


def is_in(name: str, parts: Collection[str]) -> bool:
    """Return whether the tensor or module ``name`` is one of ``parts`` or inside one."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def check_frozen(net: nn.Module, parts: Collection[str]) -> None:
    """Check that all ``parts`` are in ``net``, and that something else is, too.

    Raises:
        ScenarioError: They are not.
    """
    names = list(tensors_of(net))
    for part in parts:
        if not any(is_in(name, [part]) for name in names):
            raise ScenarioError(
                f"learner.frozen: the network has no part {part!r}; it has {_listed(_tops(names))}"
            )
    if parts and not any(weight.requires_grad for weight in net.parameters()):
        raise ScenarioError("learner.frozen: nothing is left to train; leave out a part")


def start_from(net: nn.Module, options: InitialOptions | None) -> None:
    """Fill ``net`` with weights of a file, if ``options`` name one.

    Raises:
        ScenarioError: The file cannot be read, or has not what ``net`` needs.
    """
    if options is None:
        return
    found = {
        f"{options.into}.{name}" if options.into else name: one for name, one in _read(options.file).items()
    }
    own = tensors_of(net)
    needed = {name: one for name, one in own.items() if not options.only or is_in(name, options.only)}
    where = f"learner.initial: {options.file}"
    if not needed:
        raise ScenarioError(
            f"learner.initial.only: the network has no part {_listed(options.only)}; it has {_listed(_tops(own))}"
        )
    # A count of batches that BatchNorm has seen is in newer files only, and nothing depends on it.
    missing = [name for name in needed if name not in found and not name.endswith(".num_batches_tracked")]
    if missing:
        raise ScenarioError(
            f"{where} has no {_listed(missing)}, which the network has; it has {_listed(_tops(found))}. "
            "learner.initial.into says which module its names are in, learner.initial.only which parts to take"
        )
    strange = [] if options.only else [name for name in found if name not in own]
    if strange:
        raise ScenarioError(
            f"{where} has {_listed(strange)}, which the network has not; learner.initial.only says which parts to take"
        )
    for name, place in needed.items():
        if name in found and found[name].shape != place.shape:
            raise ScenarioError(
                f"{where}: {name} has shape {list(found[name].shape)}, and the network's has {list(place.shape)}; "
                "choose the network that it was trained with (learner.networks), or other parts (learner.initial.only)"
            )
    with torch.no_grad():
        for name, place in needed.items():
            if name in found:
                place.copy_(found[name])


def _read(file: Path) -> Mapping[str, Tensor]:
    """Return the tensors in ``file``, of safetensors or of PyTorch, by name.

    Raises:
        ScenarioError: It is not there, or no such file.
    """
    try:
        file.open("rb").close()  # the system's own words, also where safetensors has others
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ScenarioError(f"learner.initial: {file}: {reason(error)}") from None
    except Exception as error:
        raise ScenarioError(
            f"learner.initial: {file}: is no file of weights ({type(error).__name__}); it must be safetensors, or "
            "PyTorch's with tensors by name and nothing else (torch.save(net.state_dict(), ...))"
        ) from None
    if not isinstance(found, Mapping) or not all(isinstance(one, Tensor) for one in found.values()):
        raise ScenarioError(
            f"learner.initial: {file}: must have tensors by name, as net.state_dict() (got {type(found).__name__})"
        )
    return found


def _tops(names: Collection[str]) -> list[str]:
    """Return the first words of ``names``, two where there are."""
    return list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))


def _listed(names: Collection[str]) -> str:
    first = list(names)[:MOST_NAMED]
    more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
    return ", ".join(first) + more


def tensors_of(net: nn.Module) -> dict[str, Tensor]:
    """Return weights and buffers of ``net`` by name; one with several names is there once."""
    with torch.no_grad():
        return {**dict(net.named_parameters()), **dict(net.named_buffers())}
