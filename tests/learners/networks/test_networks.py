"""Networks, what they cost (Table II of DMML-KD), and the sums of eqs. (5), (17) and (27)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from pydantic import ValidationError
from tiny_task import make_learner, make_setup, play_round

from learners.networks.architecture import Architecture, GeneratorShape, build
from learners.networks.choice import NetworkChoice
from learners.networks.decomposed import DecomposedNet
from learners.networks.generator import Generator
from learners.networks.identity import Identity
from learners.networks.lenet import LeNet
from learners.networks.mlp import MLP
from learners.networks.resnet import ResNet18, SmallResNet, patches
from learners.networks.state import numbers, take
from learners.training.costs import cost_table, forward_macs
from netsim.core.errors import ScenarioError
from netsim.core.registry import load
from netsim.scenario.model import Costs, StatedCosts

PAPER_COSTS = Costs(bits_per_parameter=8, backward_to_forward=1, flops_per_mac=1)
PAPER_SHAPES = {"audio": (1, 257, 188), "visual": (3, 224, 224)}


@pytest.fixture(scope="module")
def table_2() -> object:
    resnet = NetworkChoice(name="resnet18")
    architecture = Architecture(
        {"audio": resnet, "visual": resnet}, PAPER_SHAPES, class_count=6, generator=GeneratorShape(64, 512)
    )
    samples = {m: torch.zeros(2, *shape) for m, shape in PAPER_SHAPES.items()}
    return cost_table(build(architecture), samples, batch_size=16, costs=PAPER_COSTS)


def test_counted_costs_agree_with_table_2(table_2) -> None:  # type: ignore[no-untyped-def]
    """Within half a percent, what BatchNorm and pooling add to the paper's FLOPs."""
    assert table_2.flops == pytest.approx({"audio": 5.73e10, "visual": 5.82e10}, rel=0.005)
    assert table_2.bits == pytest.approx({"audio": 8.94e7, "visual": 8.95e7}, rel=0.005)
    assert table_2.common_bits == pytest.approx(1.35e6, rel=0.005)
    assert table_2.common_flops == 2 * 16 * 256 * 6 == 49_152
    assert f"{table_2.generator_forward_flops:.1e}" == "2.7e+06"
    assert f"{table_2.generator_flops:.1e}" == "5.4e+06"


def test_resnet_18_counts(table_2) -> None:  # type: ignore[no-untyped-def]
    """MACs per sample 1.7845e9 and 1.8136e9; 11,176,512 weights and 9,600 running statistics (docs, Table II)."""
    macs = {m: flops / 32 - 256 * 6 for m, flops in table_2.flops.items()}
    assert macs == pytest.approx({"audio": 1.7845e9, "visual": 1.8136e9}, rel=1e-4)
    assert table_2.bits["visual"] == 8 * (11_176_512 + 9_600 + 256 * 6)
    assert table_2.bits["audio"] == 8 * (11_170_240 + 9_600 + 256 * 6)


def test_the_papers_generator() -> None:
    """70 → 512 → 256 with biases: 70 · 512 + 512 + 512 · 256 + 256 = 167,680."""
    generator = Generator(noise_size=64, class_count=6, hidden=512, feature_count=256)
    assert numbers(take({"generator": generator})["generator"]) == 167_680
    assert generator(torch.zeros(2, 64), torch.tensor([0, 5])).shape == (2, 256)


def test_stated_costs_are_taken_as_stated_and_upsilon_only_with_a_generator() -> None:
    stated = StatedCosts(
        flops_per_iteration={"audio": 3.0, "visual": 4.0},
        common_bits=100.0,
        bits={"audio": 5.0, "visual": 6.0},
    )
    costs = Costs(stated=stated, bits_per_parameter=8)
    kd, plain = make_learner("dmml_kd", costs=costs), make_learner("dmml", costs=costs)
    assert kd._model.costs.flops == plain._model.costs.flops == {"audio": 3.0, "visual": 4.0}
    assert kd._model.costs.common_bits == 100.0
    assert plain._model.costs.common_bits == 8 * (4 * 3 + 3), "classifier 4 × 3 and bias 3, counted"


def test_stated_costs_must_name_every_modality() -> None:
    stated = StatedCosts(flops_per_iteration={"audio": 3.0}, bits={"audio": 5.0})
    with pytest.raises(ScenarioError, match=r"costs.stated.flops_per_iteration: .* visual"):
        make_learner("dmml", costs=Costs(stated=stated))


def toy_net() -> DecomposedNet:
    torch.manual_seed(0)
    mlp = MLP(MLP.Options(hidden=(8,)))  # type: ignore[call-arg]
    net = DecomposedNet({"audio": mlp.build((3,)), "visual": mlp.build((3,))}, class_count=4)
    torch.nn.init.normal_(net.head.bias)
    return net


def test_the_modalities_own_logits_add_up_to_the_fused_ones() -> None:
    """Eq. (27) summed over m is eq. (5)."""
    net = toy_net()
    outputs = net({"audio": torch.randn(5, 3), "visual": torch.randn(5, 3)})
    torch.testing.assert_close(outputs.per_modality.sum(0), outputs.logits)
    x = torch.randn(5, 3)
    h = net.trunks["audio"](x)
    by_hand = (
        h[:, :4] @ net.head.classifier.weight.T + h[:, 4:] @ net.specific["audio"].weight.T + net.head.bias
    )
    torch.testing.assert_close(net({"audio": x}).logits, by_hand)


def test_an_absent_modality_does_not_matter() -> None:
    net, x = toy_net(), torch.randn(5, 3)
    before = net({"audio": x}).logits
    with torch.no_grad():
        for weight in (*net.trunks["visual"].parameters(), net.specific["visual"].weight):
            weight.add_(1.0)
    assert torch.equal(net({"audio": x}).logits, before)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (ResNet18(ResNet18.Options()), (1, 33, 40)),
        (SmallResNet(SmallResNet.Options()), (3, 32, 32)),
        (SmallResNet(SmallResNet.Options(widths=(4, 8, 8), blocks=2, shortcut="projection")), (1, 17, 30)),
        (SmallResNet(SmallResNet.Options(widths=(4, 6), stem_kernel=8, stem_stride=8)), (1, 30, 17)),
        (MLP(MLP.Options()), (7,)),
        (LeNet(LeNet.Options()), (1, 28, 28)),
        (LeNet(LeNet.Options()), (3, 32, 40)),
        (LeNet(LeNet.Options()), (2, 12, 13)),
    ],
)
def test_features_are_non_negative_and_as_many_as_said(network, shape) -> None:  # type: ignore[no-untyped-def]
    trunk = network.build(shape).eval()
    with torch.no_grad():
        features = trunk(torch.randn(2, *shape))
    assert features.shape == (2, trunk.feature_count)
    assert (features >= 0).all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 32)])
def test_lenet_counts(shape) -> None:  # type: ignore[no-untyped-def]
    """156 + 2,416 + 48,120 + 10,164 weights, and 28² · 6 · 25 + 10² · 16 · 150 + 400 · 120 + 120 · 84 MACs."""
    trunk = LeNet(LeNet.Options()).build(shape)
    assert [sum(w.numel() for w in layer.parameters()) for layer in trunk.layers[::3][:2]] == [156, 2_416]
    assert sum(w.numel() for w in trunk.parameters()) == 60_856
    assert forward_macs(trunk, shape) == 117_600 + 240_000 + 48_000 + 10_080


def test_the_identity_gives_its_inputs_and_has_nothing_to_train() -> None:
    """With one linear classifier and a bias: logistic regression, 57 · 2 MACs and as many weights, and 2 biases."""
    x = torch.randn(4, 57)
    architecture = Architecture(
        {"features": NetworkChoice(name="identity")}, {"features": (57,)}, class_count=2, decomposed=False
    )
    model = build(architecture)
    outputs = model.net({"features": x})
    torch.testing.assert_close(outputs.logits, x @ model.net.specific["features"].weight.T)
    assert Identity(Identity.Options()).build((3, 2, 4)).feature_count == 24
    table = cost_table(model, {"features": x[:2]}, batch_size=1, costs=PAPER_COSTS)
    assert table.flops == {"features": 2 * 57 * 2}
    assert (table.bits, table.common_bits) == ({"features": 8 * 57 * 2}, 8 * 2)


def test_logistic_regression_learns_in_a_round() -> None:
    """A trunk without weights is trained, sent and mixed like any other; three classes by chance give 1/3."""
    learner = make_learner(
        "dmml",
        networks={"audio": "identity"},
        modalities=["audio"],
        architecture="concat",
        learning_rate=0.1,
        local_epochs=5,
    )
    assert play_round(learner, 1)[0]["accuracy", ""] > 0.6


def test_a_network_that_does_not_fit_says_so() -> None:
    with pytest.raises(ScenarioError, match=r"learner.networks.audio: a ResNet takes inputs of shape"):
        make_learner("dmml", networks={"audio": {"name": "small_resnet"}})
    with pytest.raises(ScenarioError, match=r"stem_stride must be at most"):
        SmallResNet(SmallResNet.Options(stem_stride=16, stem_kernel=16)).build((1, 8, 8))
    with pytest.raises(
        ScenarioError, match=r"lenet: the input's height and width must be at least 12 .*11×28"
    ):
        LeNet(LeNet.Options()).build((1, 11, 28))
    with pytest.raises(ScenarioError, match=r"lenet takes inputs of shape .*use the network 'mlp'"):
        LeNet(LeNet.Options()).build((57,))
    with pytest.raises(ScenarioError, match=r"the same number of features.*audio: 10, visual: 8"):
        make_learner(
            "dmml",
            networks={
                "audio": {"name": "mlp", "hidden": [10]},
                "visual": {"name": "small_resnet", "widths": [8]},
            },
        )
    with pytest.raises(ScenarioError, match=r"must be even"):
        make_learner("dmml", networks={m: {"name": "mlp", "hidden": [7]} for m in ("audio", "visual")})
    with pytest.raises(ScenarioError, match=r"no modality 'smell'; it has: audio, visual"):
        make_learner("dmml", networks={"smell": "mlp"})
    with pytest.raises(ScenarioError, match=r"learner.modalities: the data has no modality 'smell'"):
        make_learner("dmml", modalities=["smell"])


@pytest.mark.parametrize(
    ("learner", "options", "where"),
    [
        ("dmml", {"networks": {"audio": {"name": "mpl"}}}, "Did you mean 'mlp'"),
        ("dmml", {"networks": {"audio": {"name": "mlp", "hiden": [4]}}}, "hiden"),
        ("dmml", {"networks": {"audio": {"name": "small_resnet", "widths": [8, 4]}}}, "must not fall"),
        ("dmml", {"networks": {"audio": {"name": "small_resnet", "strides": [1]}}}, "one per stage"),
        ("dmml", {"learning_rate": 0.0}, "learning_rate"),
        ("dmml_kd", {"alpha_kd": -1.0}, "alpha_kd"),
        ("dmml_kd", {"architecture": "concat"}, "architecture"),
        ("dmml_kd_balance", {"epsilon": 0.0}, "epsilon"),
        ("isolated", {"alpha_kd": 1.0}, "alpha_kd"),
        ("stub", {"bits": -1.0}, "bits"),
    ],
)
def test_options_are_checked(learner: str, options: dict, where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        load("learners", learner).Options.model_validate(options)


def test_a_learner_without_data_says_what_is_missing() -> None:
    from dataclasses import replace

    with pytest.raises(ScenarioError, match="needs a 'partition' block"):
        load("learners", "dmml")(replace(make_setup("dmml"), partition=None))


def test_each_thread_builds_one_model_of_an_architecture() -> None:
    """Jobs of one thread follow each other; those of two threads must not work on the same tensors."""
    architecture = make_learner("dmml_kd")._model.architecture
    with ThreadPoolExecutor(1) as elsewhere:
        assert architecture.model() is architecture.model()
        assert elsewhere.submit(architecture.model).result() is not architecture.model()


def test_a_stem_that_cuts_patches_is_the_convolution() -> None:
    """Kernel and stride 8 on 33 × 47: what does not fill a patch at the right and the bottom is left out."""
    x, weight = torch.randn(2, 3, 33, 47), torch.randn(5, 3, 8, 8)
    expected = torch.nn.functional.conv2d(x, weight, stride=8)
    assert torch.allclose(patches(x, weight), expected, atol=1e-4)
