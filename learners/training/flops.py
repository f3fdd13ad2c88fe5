"""Counting the FLOPs of a network while PyTorch runs it forward and backward on real samples."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves

from learners.networks.dispatch import EagerMode
from learners.training.operators import ADDITIVE, multiply_accumulates, name_of
from netsim.core.errors import ScenarioError
from netsim.core.own_code import with_its_place

WAY_OUT = (
    "State what an iteration costs in costs.stated, where all devices have the same networks, or give PyTorch the "
    "operator's formula with torch.utils.flop_counter.register_flop_formula"
)


_ONE_AT_A_TIME = threading.Lock()
"""Held while a network is counted, because the choice of PyTorch's kernels is a setting of the whole process."""


class Passes(NamedTuple):
    """Cost of one sample, in multiply-accumulates or in FLOPs.

    Attributes:
        forward: Cost of the forward pass.
        backward: Cost of the gradients of trained weights, and of the activations that these gradients need.
    """

    forward: float
    backward: float

    @property
    def both(self) -> float:
        """Return the cost of forward and backward pass together, as in a training step."""
        return self.forward + self.backward


def count(
    module: nn.Module,
    *inputs: Tensor,
    passes_on: bool = False,
    frozen: bool = False,
    training: bool = True,
    gives: int | None = None,
) -> Passes:
    """Count the multiply-accumulates of one sample forward and backward; ``module`` is not changed.

    Counted are products of matrices and convolutions. Not counted are elementwise operators, normalisation, pooling and
    look-ups, which are 0.4 % of a ResNet-18. Fused kernels are switched off, so that recurrent layers and attention are
    counted as the products that they consist of. Weights that are not trained need no gradient. Inputs need one only
    with ``passes_on``.

    Args:
        module: A module on the CPU.
        *inputs: Its inputs, [batch, ...] each. Use a batch of at least two, because BatchNorm cannot train on one.
        passes_on: Whether the gradient of floating-point ``inputs`` is needed, because a module before this is trained.
        frozen: Whether nothing in ``module`` is trained.
        training: Whether ``module`` runs in training mode.
        gives: Number of features that it must return for each sample, [batch, gives]; None if any output is allowed.

    Raises:
        ScenarioError: ``module`` cannot take ``inputs``, returns something else than ``gives`` says, or cannot be
            trained. Or an operator has no formula and might multiply. Or the count is smaller than the number of
            weights in matrices that ``module`` multiplies by, so that some products were not seen.
    """
    weights = {
        name: weight.detach().clone().requires_grad_(weight.requires_grad and not frozen)
        for name, weight in module.named_parameters()
    }
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    given = [x.detach().requires_grad_(passes_on and x.is_floating_point()) for x in inputs]
    modes = {part: part.training for part in module.modules()}
    counter = _Counter(torch._C._get_mkldnn_enabled())
    with torch.random.fork_rng(devices=[]), _everything_seen(), torch.enable_grad(), _told(counter, module):
        module.train(training)
        try:
            with counter:
                result = _run(
                    "take", lambda: functional_call(module, {**weights, **buffers}, tuple(given)), inputs
                )
                if gives is not None:
                    _features(result, [len(inputs[0]), gives])
                forward, counter.going_back = counter.total, True
                outputs = [
                    one for one in tree_leaves(result) if isinstance(one, Tensor) and one.requires_grad
                ]
                if outputs:
                    _run("be trained on", lambda: _total(outputs).backward(), inputs)
        finally:
            for part, mode in modes.items():
                part.training = mode
    batch = len(inputs[0])
    matrices = {weight.data_ptr(): weight.numel() for weight in weights.values() if weight.dim() > 1}
    _plausible(forward / batch, sum(matrices[at] for at in counter.multiplied if at in matrices))
    return Passes(forward / batch, (counter.total - forward) / batch)


def _total(outputs: Sequence[Tensor]) -> Tensor:
    """Sum up all numbers; with gradients given by hand, PyTorch would import its symbolic algebra (0.7 s)."""
    return torch.stack(
        [(torch.view_as_real(one) if one.is_complex() else one).sum().float() for one in outputs]
    ).sum()


def check_features(trunk: nn.Module, samples: Tensor, count: int) -> None:
    """Check that ``trunk`` returns ``count`` features for each of ``samples`` [batch, ...], without counting.

    Raises:
        ScenarioError: It cannot take them, or returns something else.
    """
    modes = {part: part.training for part in trunk.modules()}
    try:
        with torch.no_grad():
            _features(_run("take", lambda: trunk.eval()(samples), (samples,)), [len(samples), count])
    finally:
        for part, mode in modes.items():
            part.training = mode


def _features(found: Any, shape: list[int]) -> None:
    if isinstance(found, Tensor) and found.is_floating_point() and list(found.shape) == shape:
        return
    what = (
        f"{list(found.shape)} of {str(found.dtype).removeprefix('torch.')}"
        if isinstance(found, Tensor)
        else f"a {type(found).__name__}"
    )
    raise ScenarioError(
        f"the network gives {what} for a batch of two samples; it must give features {shape}, floating-point numbers, "
        f"for its feature_count is {shape[1]}"
    )


def _run(verb: str, step: Callable[[], Any], inputs: Sequence[Tensor]) -> Any:
    """Run ``step``, the first use of a user's network; turn its errors into a ScenarioError."""
    try:
        return step()
    except ScenarioError:
        raise
    except Exception as error:
        what = ", ".join(f"{list(x.shape)} of {str(x.dtype).removeprefix('torch.')}" for x in inputs)
        raise ScenarioError(
            f"the network cannot {verb} a batch of two samples, {what}: {with_its_place(error)}. Use a "
            "network for such samples, or give the data set a transform that makes what the network takes"
        ) from error


def _plausible(counted: float, weights: int) -> None:
    if counted < weights:
        raise ScenarioError(
            f"{counted:,.0f} multiply-accumulates were counted for one sample, which are fewer than the {weights:,} "
            "weights in matrices that the network multiplies by; so some of its products were not seen. Write them "
            "as products of matrices (torch.matmul, torch.einsum), or state what an iteration costs in costs.stated, "
            "where all devices have the same networks"
        )


@contextmanager
def _everything_seen() -> Iterator[None]:
    """Make recurrent layers and attention run as plain products of matrices in the block."""
    with _ONE_AT_A_TIME:
        fast_path = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with _one_dnn(False), sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)


@contextmanager
def _one_dnn(enabled: bool) -> Iterator[None]:
    """Switch oneDNN's fused kernels on or off in the block; ``torch.backends.mkldnn.flags`` would warn on GPUs."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(enabled)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


@contextmanager
def _told(counter: _Counter, module: nn.Module) -> Iterator[None]:
    """Keep ``counter.where`` up to date with the part of ``module`` that runs, in the block."""
    with ExitStack() as hooks:
        for name, part in module.named_modules():
            where = (
                f"module {name!r} ({type(part).__name__})" if name else f"the network ({type(part).__name__})"
            )
            before = part.register_forward_pre_hook(lambda *_, where=where: counter.where.append(where))
            after = part.register_forward_hook(lambda *_: counter.leave(), always_call=True)
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        yield


class _Counter(EagerMode):
    """Adds up the multiply-accumulates of all operators, and notes which tensors are factors.

    Attributes:
        total: Multiply-accumulates so far.
        where: The modules that run, outermost first.
        going_back: Whether the backward pass has begun.
        multiplied: Memory addresses of the tensors that the forward pass multiplies by.
    """

    def __init__(self, fast: bool) -> None:
        super().__init__()
        self.total = 0
        self.where: list[str] = []
        self.going_back = False
        self.multiplied: set[int] = set()
        self._fast = fast

    def leave(self) -> None:
        """Note that the innermost module has ended."""
        self.where.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operator and count it; an operator that consists of others is decomposed first."""
        named = kwargs or {}
        with self:
            result = func.decompose(*args, **named)
        if result is not NotImplemented:
            return result
        with _one_dnn(self._fast):  # the operator is known now, so fused kernels may run it
            result = func(*args, **named)
        found = multiply_accumulates(func, args, named, result)
        if found is None:
            place = "the backward pass" if self.going_back else (self.where or ["the network"])[-1]
            raise ScenarioError(
                f"the FLOPs of the operator {func._schema.name} in {place} are not known, so it cannot be charged. "
                f"{WAY_OUT}"
            )
        self.total += found
        if not self.going_back and (
            found or (torch.Tag.pointwise in func.tags and name_of(func) not in ADDITIVE)
        ):
            self.multiplied |= {
                one.untyped_storage().data_ptr() for one in tree_leaves(args) if isinstance(one, Tensor)
            }
        return result
