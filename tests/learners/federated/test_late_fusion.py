"""The late-fusion network: which parts there are, and what becomes of a modality that is not there."""

from __future__ import annotations

import pytest
import torch

from learners.networks.choice import NetworkChoice
from learners.networks.late_fusion import LateFusion, late_fusion
from netsim.core.errors import ScenarioError

SHAPES = {"audio": (5,), "visual": (1, 8, 8)}


@pytest.fixture
def architecture() -> LateFusion:
    networks = {
        "audio": NetworkChoice(name="mlp", hidden=[4]),
        "visual": NetworkChoice(name="small_resnet", widths=[8]),
    }
    return late_fusion(networks, SHAPES, class_count=3, hidden=6)


def inputs(count: int) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {m: torch.randn(count, *shape, generator=random) for m, shape in SHAPES.items()}


def test_parts_and_sizes(architecture: LateFusion) -> None:
    """Heads: 4·6 + 6 + 6·3 + 3 and 8·6 + 6 + 6·3 + 3 numbers; fusion: (12·6 + 6) + (6·6 + 6) + (6·3 + 3) = 141."""
    parts = architecture.build().parts()
    assert tuple(parts) == architecture.parts(("audio", "visual"))
    sizes = {name: sum(weight.numel() for weight in module.parameters()) for name, module in parts.items()}
    assert (sizes["head/audio"], sizes["head/visual"], sizes["fusion"]) == (51, 75, 141)


def test_a_device_holds_its_own_trunks_and_heads_and_all_of_fusion(architecture: LateFusion) -> None:
    own = architecture.restricted_to(("visual",))
    assert tuple(own.build().parts()) == ("trunk/visual", "head/visual", "fusion")
    assert own.build().fusion[0].in_features == architecture.build().fusion[0].in_features == 12


def test_with_one_modality_both_losses_are_there(architecture: LateFusion) -> None:
    net = architecture.restricted_to(("audio",)).build()
    outputs = net({"audio": inputs(4)["audio"]}, 4)
    assert outputs.fused.shape == outputs.heads["audio"].shape == (4, 3)


def test_a_modality_that_the_device_lacks_counts_as_zero_features(architecture: LateFusion) -> None:
    """The whole network, given no visual sample, and the network of an audio device with the same weights agree."""
    whole, own = architecture.build(), architecture.restricted_to(("audio",)).build()
    own.load_state_dict({k: v for k, v in whole.state_dict().items() if k in own.state_dict()})
    audio = {"audio": inputs(4)["audio"]}
    torch.testing.assert_close(whole(audio, 4).fused, own(audio, 4).fused)
    assert tuple(whole(audio, 4).heads) == ("audio",)


def test_a_sample_that_lacks_a_modality_is_classified_as_if_there_were_none(architecture: LateFusion) -> None:
    """Of four samples only 1 and 3 have images: their logits are those of full samples, the others' those of audio."""
    net = architecture.build().eval()
    every = inputs(4)
    some = {"audio": every["audio"], "visual": every["visual"][[1, 3]]}
    mixed = net(some, 4, {"visual": torch.tensor([1, 3])})
    full, audio = net(every, 4), net({"audio": every["audio"]}, 4)
    torch.testing.assert_close(mixed.fused[[1, 3]], full.fused[[1, 3]])
    torch.testing.assert_close(mixed.fused[[0, 2]], audio.fused[[0, 2]])
    torch.testing.assert_close(mixed.heads["visual"], full.heads["visual"][[1, 3]])


def test_a_lone_sample_teaches_batch_norm_nothing(architecture: LateFusion) -> None:
    net = architecture.build().train()
    before = {name: value.clone() for name, value in net.trunks["visual"].named_buffers()}
    net({"visual": inputs(1)["visual"]}, 1)
    assert net.trunks["visual"].training
    for name, value in net.trunks["visual"].named_buffers():
        assert value.equal(before[name])


def test_networks_are_told_apart_by_their_text_and_built_once(architecture: LateFusion) -> None:
    torch.manual_seed(7)
    first = torch.rand(())
    torch.manual_seed(7)
    net = architecture.net()
    assert torch.rand(()) == first, "building leaves PyTorch's global generator alone"
    assert architecture.restricted_to(("audio", "visual")).net() is net
    assert architecture.restricted_to(("audio",)).net() is not net


def test_no_modality_may_have_the_fused_heads_name() -> None:
    with pytest.raises(ScenarioError, match="a modality is called 'fusion'"):
        late_fusion({"fusion": NetworkChoice(name="mlp")}, {"fusion": (5,)}, class_count=3, hidden=6)
