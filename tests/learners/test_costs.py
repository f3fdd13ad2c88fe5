"""What training takes in memory, counted by hand."""

import pytest
import torch
from tiny_task import Deal, make_learner
from torch import nn

from learners.networks.mlp import MLPTrunk
from learners.training.costs import activation_bytes, training_bytes


def test_training_bytes_of_a_small_network_by_hand():
    """An MLP from 8 inputs by 4 hidden units to 2 features, Adam, batches of 16.

    Weights: 8 x 4 + 4 + 4 x 2 + 2 = 46. For the backward pass of a sample are kept: the inputs (8), what the first ReLU
    gives, which the second layer takes (4), and what the second gives (2): 14 numbers, 56 bytes. In all
    4 (46 weights + 46 gradients + 2 x 46 of Adam) + 16 x 56 = 736 + 896 = 1632.
    """
    mlp = MLPTrunk(8, (4, 2))
    weights = sum(weight.numel() for weight in mlp.parameters())
    kept = activation_bytes(mlp, torch.zeros(2, 8), once=True)
    assert (weights, kept) == (46, 56.0)
    assert training_bytes(weights, 0, 2, kept, 16) == 1632


def test_counted_for_each_operator_what_a_relu_gives_is_counted_again_in_the_next_layer():
    """8 + 4 + 4 + 2 numbers."""
    assert activation_bytes(MLPTrunk(8, (4, 2)), torch.zeros(2, 8)) == 72


def test_buffers_have_no_gradient_and_no_memory():
    """4 (2 x 10 + 3) for SGD; with momentum 10 numbers more."""
    assert training_bytes(10, 3, 0, 0.0, 0) == 92
    assert training_bytes(10, 3, 1, 0.0, 0) == 132


@pytest.mark.parametrize(
    ("optimizer", "momentum", "copies"), [("adam", 0, 4), ("sgd", 0, 2), ("sgd", 0.9, 3)]
)
def test_dmml_takes_what_its_parts_and_its_batch_take(optimizer, momentum, copies):
    """Audio alone: MLP 5 -> 12 -> 8, decomposed, 3 classes, on a device that has 6 samples for batches of 8.

    Weights: 5 x 12 + 12 + 12 x 8 + 8 = 176, classifiers of 4 specific and of 4 common features 12 each, a bias of 3:
    203. Kept of a sample: 5 + 12 + 8 = 25 numbers; of a batch 6 times as many.
    """
    options = {"modalities": ("audio",), "optimizer": optimizer, "momentum": momentum}
    learner = make_learner("dmml", partition=Deal(rows=6), **options)
    assert learner.training_memory_bytes(0) == 4 * copies * 203 + 6 * 4 * 25


def test_the_generator_remembers_with_adam_and_its_activations_count_where_they_are_more():
    """As above with batches of 8 that are full, SGD, and a generator: (4 + 3) x 16 + 16 + 16 x 4 + 4 = 196 weights.

    Of a sample it keeps noise and label (7) and its hidden units (16): 23 numbers, fewer than the network's 25. With 32
    hidden units it keeps 39, and has 7 x 32 + 32 + 32 x 4 + 4 = 388 weights.
    """
    options = {"modalities": ("audio",), "optimizer": "sgd"}
    small, large = (
        make_learner("dmml_kd", generator_hidden=hidden, **options).training_memory_bytes(0)
        for hidden in (16, 32)
    )
    assert small == 4 * 2 * 203 + 4 * 4 * 196 + 8 * 4 * 25
    assert large == 4 * 2 * 203 + 4 * 4 * 388 + 8 * 4 * 39


def test_batch_norm_adds_its_running_statistics_as_buffers():
    """Mean, variance and a counter are no weights; of a sample of 3 x 4 x 4 a convolution and BatchNorm keep theirs."""
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU())
    kept = activation_bytes(net, torch.zeros(2, 3, 4, 4), once=True)
    # Inputs of the convolution (48), of BatchNorm (32), what the ReLU gives (32); and, of two samples, the statistics.
    assert 4 * (48 + 32 + 32) <= kept <= 4 * (48 + 32 + 32 + 8)
