"""What networks compute forward and backward, counted and in closed form."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import recordings
import torch
from torch import Tensor, nn

from learners.networks.randomness import DrawingFrom
from learners.training.costs import forward_macs
from learners.training.flops import _Counter, count
from netsim.core.errors import ScenarioError

MOMENTS, SIZE, UNITS = 64, 20, 32


class Formed(nn.Module):
    """A network given as a formula of weights and inputs."""

    def __init__(self, formula, *shape: int) -> None:
        super().__init__()
        self.formula = formula
        self.w = nn.Parameter(torch.randn(shape))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.formula(self.w, *inputs)


class OfMoments(nn.Module):
    """A linear layer on each moment where ``up``, then ``mix``, of whose outputs the first counts."""

    def __init__(self, mix: nn.Module, up: bool) -> None:
        super().__init__()
        self.up = nn.Linear(SIZE, UNITS) if up else nn.Identity()
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        attention = isinstance(self.mix, nn.MultiheadAttention)
        found = self.mix(x, x, x, need_weights=False) if attention else self.mix(x)
        return found[0] if isinstance(found, tuple) else found


class Scaled(nn.Module):
    """PyTorch's scaled dot product attention of four heads on projections of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(UNITS, 3 * UNITS)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(q, k, v)


UP, PROJECTIONS = MOMENTS * SIZE * UNITS, 4 * MOMENTS * UNITS**2
ATTENTION, WIDE = 2 * MOMENTS**2 * UNITS, 2 * MOMENTS * UNITS * 2 * UNITS


def gates(number: int) -> int:
    return MOMENTS * number * UNITS * (SIZE + UNITS)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (OfMoments(nn.LSTM(SIZE, UNITS, batch_first=True), False), gates(4)),
        (OfMoments(nn.GRU(SIZE, UNITS, batch_first=True), False), gates(3)),
        (OfMoments(nn.RNN(SIZE, UNITS, batch_first=True), False), gates(1)),
        (
            OfMoments(nn.TransformerEncoderLayer(UNITS, 4, 2 * UNITS, batch_first=True), True),
            UP + PROJECTIONS + ATTENTION + WIDE,
        ),
        (OfMoments(nn.MultiheadAttention(UNITS, 4, batch_first=True), True), UP + PROJECTIONS + ATTENTION),
        (OfMoments(Scaled(), True), UP + 3 * MOMENTS * UNITS**2 + ATTENTION),
    ],
    ids=["lstm", "gru", "rnn", "encoder", "multi-head", "scaled dot product"],
)
@pytest.mark.parametrize("training", [True, False])
def test_recurrent_layers_and_attention_forward(network: nn.Module, expected: int, training: bool) -> None:
    """Of 64 moments of 20 numbers, 32 units: 425,984 for the LSTM, 827,392 for the encoder layer and so on."""
    assert count(network, torch.randn(2, MOMENTS, SIZE), training=training).forward == expected


def test_the_numbers_that_are_known() -> None:
    assert [gates(4), gates(3), gates(1)] == [425_984, 319_488, 106_496]
    assert UP + PROJECTIONS + ATTENTION + WIDE == 827_392
    assert UP + PROJECTIONS + ATTENTION == 565_248
    assert UP + 3 * MOMENTS * UNITS**2 + ATTENTION == 499_712


@pytest.mark.parametrize(
    ("network", "shape", "expected"),
    [
        (nn.Conv1d(8, 16, 3, padding=1), (8, 32), 32 * 16 * 8 * 3),
        (nn.Conv2d(8, 16, 3, padding=1, groups=4), (8, 16, 16), 256 * 16 * 2 * 9),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 16, 16), 256 * 8 * 9),
        (nn.ConvTranspose2d(8, 4, 2, 2), (8, 8, 8), 64 * 8 * 4 * 4),
        (nn.ConvTranspose1d(8, 6, 3, groups=2), (8, 10), 10 * 8 * 3 * 3),
        (Formed(lambda w, x: torch.einsum("btf,fo->bto", x, w), 8, 5), (10, 8), 10 * 8 * 5),
        (Formed(lambda w, x: x @ w, 8), (10, 8), 10 * 8),
        (Formed(lambda w, x: torch.stack([one @ w for one in x]), 8), (8,), 8),
        (Formed(lambda w, x: torch.baddbmm(x[:, :1], x, w.expand(len(x), -1, -1)), 8, 8), (10, 8), 640),
        (Formed(lambda w, x: torch.stack([torch.addr(w, one, one) for one in x]), 8, 8), (8,), 64),
        (nn.LSTMCell(8, 4), (8,), 4 * 4 * (8 + 4)),
        (nn.Embedding(50, 16), None, 0),
        (Formed(lambda w, x: torch.view_as_complex(x) @ torch.view_as_complex(w), 8, 5, 2), (8, 2), 4 * 8 * 5),
        (Formed(lambda w, x: torch.cdist(x, w), 5, 8), (8,), 5 * 8),
        (Formed(lambda w, x: torch.cdist(x, w), 30, 8), (8,), 30 * 8),
    ],
    ids=[
        "convolution", "grouped", "depthwise", "transposed", "transposed and grouped", "einsum", "matrix x vector",
        "dot", "batched sum", "outer", "cell", "embedding", "complex", "prototypes", "many prototypes",
    ],
)  # fmt: skip
def test_products_and_convolutions_forward(
    network: nn.Module, shape: tuple[int, ...] | None, expected: int
) -> None:
    given = torch.randint(50, (2, 20)) if shape is None else torch.randn(2, *shape)
    assert count(network, given).forward == expected


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (lambda x: torch.fft.rfft(x).abs(), 16 * 4),
        (lambda x: torch.fft.rfft2(x.unflatten(1, (4, 4))).abs(), 16 * 4),
        (lambda x: torch.fft.fft(torch.complex(x, x)).abs(), 2 * 16 * 4),
        (lambda x: torch.fft.irfft(torch.fft.rfft(x)), 2 * 16 * 4),
    ],
    ids=["real", "plane", "complex", "there and back"],
)
def test_fourier_transforms_are_counted_as_fast_ones(formula, expected: int) -> None:
    """Of 16 points: 16/2 · log₂ 16 products with a complex number, four real ones each; half if points are real."""
    assert count(Formed(lambda w, x: formula(x) + 0 * w.sum(), 1), torch.randn(2, 16)).forward == expected


ACTIVATIONS = sorted({*nn.modules.activation.__all__} - {"MultiheadAttention", "Softmax2d", "Threshold"})
ROUNDINGS = {
    "rounded": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -8, 7),
    "rounded by channel": lambda x: torch.fake_quantize_per_channel_affine(
        x, torch.full((6,), 0.1), torch.zeros(6, dtype=torch.int32), 1, -8, 7
    ),
    "straight through": lambda x: x + (x.round() - x).detach(),
}


@pytest.mark.parametrize("name", [*ACTIVATIONS, *ROUNDINGS])
def test_activations_and_rounding_take_no_products(name: str) -> None:
    """Between two layers, 8 · 6 and 6 · 4 or, where the activation halves its inputs (GLU), 3 · 4."""
    axis = {"dim": 1} if name in ("LogSoftmax", "Softmax", "Softmin") else {}
    change = ROUNDINGS[name] if name in ROUNDINGS else getattr(nn, name)(**axis)
    second = 4 * (3 if name == "GLU" else 6)
    first, then = nn.Linear(8, 6), nn.Linear(second // 4, 4)

    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.then = first, then

        def forward(self, x: Tensor) -> Tensor:
            return self.then(change(self.first(x)))

    assert count(Between(), torch.randn(2, 8)) == (48 + second, 48 + 2 * second)


def test_a_bilinear_layer() -> None:
    """One for each pair of inputs and each output."""
    x = torch.randn(2, 8)
    assert count(nn.Bilinear(8, 8, 4), x, x).forward == 256


def test_whoever_has_a_shape_only_gets_one_sample_of_zeros() -> None:
    assert forward_macs(Formed(lambda w, x: x[0] @ w, 8), (10, 8)) == 80


@pytest.mark.parametrize("kind", sorted(recordings.NETWORKS))
def test_closed_forms_forward_and_backward(kind: str) -> None:
    network, expected = recordings.NETWORKS[kind]()
    assert count(network, torch.randn(2, *recordings.SHAPE)) == expected


def test_ratios_of_backward_to_forward() -> None:
    """Those of three networks that used to be charged as 2."""
    ratios = {kind: make()[1].backward / make()[1].forward for kind, make in recordings.NETWORKS.items()}
    found = [round(ratios[kind], 2) for kind in ("mlp", "cnn", "gru")]
    assert found == [1.03, 1.64, 1.87]


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("passes_on", "times"), [(False, 1), (True, 2)])
def test_a_convolution_s_gradients_cost_what_it_costs_each(
    groups: int, transposed: bool, passes_on: bool, times: int
) -> None:
    """Weights' and, where they are asked for, inputs'; PyTorch's own counter takes the former ``groups`` times."""
    make = nn.ConvTranspose1d if transposed else nn.Conv1d
    found = count(make(8, 16, 3, groups=groups), torch.randn(2, 8, 12), passes_on=passes_on)
    places = 12 if transposed else 10
    assert found.forward == places * 16 * 8 // groups * 3
    assert found.backward == times * found.forward


def test_the_first_layer_s_inputs_need_no_gradient_unless_something_before_it_is_trained() -> None:
    """5 x 4 and 4 x 3: 32 forward; the gradients of both matrices and of the hidden units; with the inputs', twice."""
    net, x = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), torch.randn(2, 5)
    assert count(net, x) == (32, 20 + 2 * 12)
    assert count(net, x, passes_on=True) == (32, 2 * 32)
    assert count(net, x, passes_on=True, frozen=True) == (32, 32), "the matrices' are left out"


@pytest.mark.parametrize(("frozen", "backward"), [(0, 12), (2, 20 + 12)])
def test_a_frozen_layer_has_no_gradient_of_its_own(frozen: int, backward: int) -> None:
    """Frozen first, nothing comes before what is trained; frozen last, it only passes gradients on."""
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    net[frozen].requires_grad_(False)
    assert count(net, torch.randn(2, 5)) == (32, backward)


def test_what_is_not_trained_has_no_backward_pass() -> None:
    assert count(nn.Flatten(), torch.randn(2, 3, 4)) == (0, 0)
    assert count(nn.Linear(3, 2).requires_grad_(False), torch.randn(2, 3)) == (6, 0)


def test_an_embedding_is_looked_up_and_its_codes_of_positions_are_added() -> None:
    """Neither multiplies: 50 x 16 + 20 x 16 weights, and 16 x 4 multiply-accumulates of the layer behind them."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.look_up, self.out = nn.Embedding(50, 16), nn.Linear(16, 4)
            self.places = nn.Parameter(torch.randn(20, 16))

        def forward(self, x: Tensor) -> Tensor:
            return self.out((self.look_up(x) + self.places).mean(1))

    assert count(Tokens(), torch.randint(50, (2, 20))) == (64, 128)


def test_batch_norm_without_running_statistics_is_trained_on_two_samples() -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False))
    assert count(net, torch.randn(2, 5)) == (20, 20)


def test_counting_changes_nothing() -> None:
    """Neither weights, statistics nor modes, no generator of random numbers, no setting of PyTorch's."""
    net = nn.Sequential(
        nn.Linear(5, 4),
        nn.BatchNorm1d(4),
        nn.Dropout(),
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)),
    )
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random, settings = torch.get_rng_state(), _settings()
    count(net, torch.randn(2, 5, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(weight.grad is None for weight in net.parameters())
    assert torch.equal(torch.get_rng_state(), random) and _settings() == settings
    assert net.training and net[0].training and not net[1].training


def _settings() -> tuple[bool, bool, bool]:
    return (
        torch._C._get_mkldnn_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
    )


def test_threads_that_count_at_once_find_the_same_and_leave_settings_alone() -> None:
    settings = _settings()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: count(nn.LSTM(5, 4), torch.randn(2, 6, 5)), range(8)))
    assert len(set(found)) == 1 and _settings() == settings


class Grown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.linalg.matrix_exp(torch.eye(8))


def test_an_operator_that_might_multiply_and_has_no_formula_is_named_with_its_module_and_the_way_out() -> (
    None
):
    net = nn.Sequential(nn.Linear(8, 8), Grown(), nn.Linear(8, 3))
    with pytest.raises(
        ScenarioError, match=r"operator aten::linalg_matrix_exp in module '1' \(Grown\).*costs\.stated"
    ):
        count(net, torch.randn(2, 8))


@torch.library.custom_op("netsim_tests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    """An operator of a user's own."""
    return x @ x.transpose(-1, -2)


def test_an_operator_of_a_user_s_own_is_counted_once_pytorch_knows_its_formula() -> None:
    from torch.utils.flop_counter import flop_registry, register_flop_formula

    net = Formed(lambda w, x: twice(x) + 0 * w.sum(), 1)
    with pytest.raises(ScenarioError, match=r"operator netsim_tests::twice .*register_flop_formula"):
        count(net, torch.randn(2, 3, 4))
    target = torch.ops.netsim_tests.twice
    register_flop_formula(target)(lambda x, out_shape=None, **_: 2 * x[0] * x[1] * x[1] * x[2])
    try:
        assert count(net, torch.randn(2, 3, 4)).forward == 3 * 3 * 4
    finally:
        del flop_registry[target]


def test_a_product_that_hides_as_multiplication_and_sum_is_too_little_for_its_weights() -> None:
    hidden = Formed(lambda w, x: (x[:, :, None] * w).sum(1), 8, 4)
    with pytest.raises(
        ScenarioError, match=r"^0 multiply-accumulates .* fewer than the 32 weights.*costs\.stated"
    ):
        count(hidden, torch.randn(2, 8))


def test_weights_that_nobody_uses_are_none_that_are_multiplied_by() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 2), nn.Linear(100, 100)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    assert count(Unused(), torch.randn(2, 4)) == (8, 8)


def test_samples_that_a_network_cannot_take_are_one_line() -> None:
    with pytest.raises(
        ScenarioError, match=r"^the network cannot take .* \[2, 4\] of int64: .*RuntimeError: "
    ) as found:
        count(nn.Linear(4, 2), torch.ones(2, 4, dtype=torch.int64))
    assert "\n" not in str(found.value)


def test_what_cannot_go_backward_is_one_line() -> None:
    def spoilt(w: Tensor, x: Tensor) -> Tensor:
        found = (x * w).exp()
        found.detach().zero_()
        return found

    with pytest.raises(
        ScenarioError, match=r"^the network cannot be trained on .*RuntimeError: .*modified by an inplace"
    ) as found:
        count(Formed(spoilt, 4), torch.randn(2, 4))
    assert "\n" not in str(found.value)


def test_counting_does_not_import_the_compiler():
    """PyTorch wraps a mode's operators so that its compiler, which takes 1.7 s to import, keeps away from them."""
    wrapped = [mode for mode in (_Counter, DrawingFrom) if hasattr(mode.__torch_dispatch__, "__wrapped__")]
    assert not wrapped
