"""Multiply-accumulates of PyTorch's operators: formulas, and a list of those that multiply no matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


def product(a: Tensor, b: Tensor) -> int:
    """Count a product [..., m, k] · [..., k, n], or with a vector [k] on the right: m k n for each batch element."""
    return a.numel() * (b.shape[-1] if b.dim() > 1 else 1)


def outer_product(a: Tensor, b: Tensor) -> int:
    """Count the outer product of [m] and [n]: m n."""
    return a.numel() * b.numel()


def convolution(x: Tensor, weight: Tensor, y: Tensor, transposed: bool) -> int:
    """Count a convolution from ``x`` to ``y``, both [batch, channels, ...]; groups follow from the shape of ``weight``.

    Each weight is used once for each position of the output, or of the input if the convolution is transposed. Padding
    is multiplied like any other number.
    """
    return x.shape[0] * math.prod((x if transposed else y).shape[2:]) * weight.numel()


def _convolution_forward(x: Tensor, weight: Tensor, *rest: Any, out: Tensor) -> int:
    transposed = rest[4]
    return convolution(x, weight, out, transposed)


def _convolution_backward(y: Tensor, x: Tensor, weight: Tensor, *rest: Any, out: Any) -> int:
    """Count a backward pass: the gradients of inputs and of weights each take as many as the forward pass."""
    transposed, asked = rest[4], rest[7]
    return (asked[0] + asked[1]) * convolution(x, weight, y, transposed)


def _trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    *rest: Any,
    out: Tensor,
) -> int:
    """Count Σ a b c over broadcast shapes (``nn.Bilinear``): one for each element of the common shape."""
    shapes = []
    for tensor, places in ((a, expand_a), (b, expand_b), (c, expand_c)):
        shape = list(tensor.shape)
        for place in sorted(places):
            shape.insert(place, 1)
        shapes.append(shape)
    return math.prod(torch.broadcast_shapes(*shapes))


def _of(count: Callable[[Tensor, Tensor], int], first: int) -> Callable[..., int]:
    """Apply ``count`` to the arguments ``first`` and ``first`` + 1; a complex product is four real ones."""

    def formula(*given: Any, out: Any, **named: Any) -> int:
        a, b = given[first], given[first + 1]
        return count(a, b) * (4 if a.is_complex() else 1)

    return formula


def _fourier(x: Tensor, axes: Sequence[int], *rest: Any, out: Tensor) -> int:
    """Count fast Fourier transforms over ``axes`` (Cooley and Tukey 1965).

    A transform of n points takes n/2 log₂ n complex products of 4 multiply-accumulates each. If ``x`` or ``out`` is
    real, it takes half of them.
    """
    real = next((one for one in (x, out) if not one.is_complex()), None)
    points = x if real is None else real
    transformed = math.prod(points.shape[axis] for axis in axes)
    return math.ceil((1 if points is real else 2) * points.numel() * math.log2(transformed))


def _distances(pairs: Tensor, vectors: Tensor) -> int:
    """Count the distances of ``pairs`` of ``vectors`` [..., size], or their gradients: size for each pair."""
    return pairs.numel() * vectors.shape[-1]


FORMULAS: Mapping[Any, Callable[..., int]] = {
    aten.mm: _of(product, 0),
    aten.bmm: _of(product, 0),
    aten.mv: _of(product, 0),
    aten.dot: _of(product, 0),
    aten.vdot: _of(product, 0),
    aten.addmm: _of(product, 1),
    aten.addmm_: _of(product, 1),
    aten.baddbmm: _of(product, 1),
    aten.baddbmm_: _of(product, 1),
    aten.addbmm: _of(product, 1),
    aten.addbmm_: _of(product, 1),
    aten.addmv: _of(product, 1),
    aten.addmv_: _of(product, 1),
    aten.addr: _of(outer_product, 1),
    aten.addr_: _of(outer_product, 1),
    aten.convolution: _convolution_forward,
    aten.convolution_backward: _convolution_backward,
    aten._trilinear: _trilinear,
    aten._fft_r2c: _fourier,
    aten._fft_c2c: _fourier,
    aten._fft_c2r: _fourier,
    aten._cdist_forward: lambda x, *rest, out: _distances(out, x),
    aten._euclidean_dist: lambda x, *rest, out: _distances(out, x),
    aten._pdist_forward: lambda x, *rest, out: _distances(out, x),
    aten._cdist_backward: lambda slopes, x, *rest, out: _distances(slopes, x),
    aten._pdist_backward: lambda slopes, x, *rest, out: _distances(slopes, x),
}
"""Formulas by operator. For other operators PyTorch's own formulas are used, and those that a user registers."""

ADDITIVE = frozenset({"add", "sub", "rsub"})
"""Elementwise operators that add a weight and do not multiply by it, as one adds positional encodings."""

FREE = frozenset(
    name
    for names in (
        # new tensors, copies and types
        "arange as_strided_scatter bartlett_window blackman_window clone complex contiguous copy efficientzerotensor "
        "empty empty_like hamming_window hann_window kaiser_window polar "
        "empty_permuted empty_strided eye fill full full_like lift lift_fresh linspace logspace "
        "new_empty new_empty_strided new_full new_ones new_zeros ones ones_like range reshape_alias "
        "resize resize_as scalar_tensor set to_copy zero zeros zeros_like",
        # rearrangements
        "alias block_diag cat channel_shuffle col2im constant_pad_nd detach diag_embed diagonal "
        "diagonal_scatter flip im2col narrow_copy pack_padded_sequence pad_packed_sequence "
        "pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat "
        "repeat_interleave replication_pad1d replication_pad2d replication_pad3d roll rot90 select "
        "select_scatter slice slice_scatter split split_with_sizes squeeze stack t transpose tril "
        "tril_indices triu triu_indices unfold unsafe_split unsafe_split_with_sizes unsafe_view "
        "unsqueeze where",
        # look-ups and scatterings
        "bucketize embedding embedding_bag embedding_bag_dense embedding_bag_forward_only "
        "embedding_dense embedding_renorm gather index index_add index_copy index_fill index_put "
        "index_put_impl index_reduce index_select masked_fill masked_scatter masked_select put "
        "scatter scatter_add scatter_reduce searchsorted take unsafe_index unsafe_index_put "
        "unsafe_masked_index unsafe_masked_index_put_accumulate",
        # reductions, sorting and tests
        "all allclose amax amin aminmax any argmax argmin assert_async assert_scalar "
        "assert_tensor_metadata bincount count_nonzero cummax cummax_helper cummin cummin_helper "
        "cumprod cumsum dist equal functional_assert_async has_same_storage_numel histc is_all_true "
        "is_any_true is_coalesced is_pinned is_same_size isin isinf isnan kthvalue linalg_vector_norm "
        "local_scalar_dense logcumsumexp logsumexp max mean median min mode msort nanmedian nansum "
        "nonzero nonzero_static norm prod segment_reduce sort std std_mean sum topk trace unique "
        "unique2 unique_consecutive unique_dim var var_mean",
        # activations, normalisations and losses
        "add_relu batch_norm_no_update batch_norm_with_update batch_norm_with_update_functional "
        "binary_cross_entropy binary_cross_entropy_with_logits celu ctc_loss elu fused_dropout "
        "fused_rms_norm gelu glu hardshrink hardsigmoid hardswish hardtanh huber_loss leaky_relu "
        "log_sigmoid log_softmax log_softmax_backward_data masked_scale masked_softmax mish mse_loss "
        "multi_margin_loss multilabel_margin_loss native_batch_norm native_batch_norm_legit "
        "native_batch_norm_legit_functional native_batch_norm_legit_no_training native_group_norm "
        "native_layer_norm native_norm nll_loss nll_loss2d prelu_kernel relu renorm rrelu_with_noise "
        "rrelu_with_noise_functional safe_softmax smooth_l1_loss soft_margin_loss softmax "
        "softmax_backward_data softplus softshrink threshold weight_norm_interface",
        # numbers rounded to few bits
        "fake_quantize_learnable_per_channel_affine fake_quantize_learnable_per_tensor_affine "
        "fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask "
        "fake_quantize_per_tensor_affine_cachemask_tensor_qparams fused_moving_avg_obs_fq_helper",
        # elementwise, in forms that have no tag
        "abs copysign eq floor_divide gcd ge gt heaviside lcm le linalg_cross lt ne rsub xlogy",
        # poolings and resamplings
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d "
        "adaptive_max_pool3d affine_grid_generator avg_pool1d avg_pool2d avg_pool3d "
        "fractional_max_pool2d fractional_max_pool3d grid_sampler_2d grid_sampler_3d max_pool2d "
        "max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d upsample_bicubic2d "
        "upsample_bicubic2d_aa upsample_bilinear2d upsample_bilinear2d_aa upsample_linear1d "
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_nearest_exact1d "
        "upsample_nearest_exact2d upsample_nearest_exact3d upsample_trilinear3d",
        # random numbers
        "bernoulli cauchy exponential geometric log_normal multinomial native_dropout normal "
        "normal_functional poisson rand rand_like randint randint_like randn randn_like random "
        "randperm uniform",
    )
    for name in names.split()
)
"""Operators that multiply no matrices and have no tag that says so, by the name from :func:`name_of`."""


def name_of(operator: OpOverload) -> str:
    """Return the operator's name without the marks of private, in-place, forward and backward forms."""
    name: str = operator._schema.name.partition("::")[2]
    return name.strip("_").removesuffix("_forward").removesuffix("_backward")


def multiply_accumulates(
    operator: OpOverload, given: Sequence[Any], named: Mapping[str, Any], out: Any
) -> int | None:
    """Count the multiply-accumulates of one call of ``operator``.

    Args:
        operator: An operator that PyTorch calls below autograd.
        given: Its positional arguments.
        named: Its keyword arguments.
        out: Its result.

    Returns:
        Multiply-accumulates of products of matrices and of convolutions. It is 0 for operators that work elementwise,
        move, look up, reduce, normalise or pool. It is None for an unknown operator.
    """
    packet = operator.overloadpacket
    if packet in FORMULAS:
        return FORMULAS[packet](*given, out=out, **named)
    if packet in flop_registry:
        return int(flop_registry[packet](*given, **named, out_val=out)) // 2
    if operator.namespace == "profiler":
        return 0
    harmless = torch.Tag.pointwise in operator.tags or operator.is_view or name_of(operator) in FREE
    return 0 if harmless and operator.namespace == "aten" else None
