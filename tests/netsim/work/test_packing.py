"""What was packed comes out the same: numbers, types, shapes, strides; and it was not copied on the way."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netsim.work.packing import ALIGNMENT, copied, pack, unpack

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
]


@dataclass(frozen=True)
class Holder:
    name: str
    inside: dict


def travelled(value):
    """As through another process: no memory in common."""
    return unpack([bytes(part) if i == 0 else copied(part) for i, part in enumerate(pack(value))])


def assert_same(one, other):
    assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
    assert torch.equal(one, other)


@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(0, 4), max_size=4),
    data=st.data(),
)
def test_any_dense_tensor_comes_out_the_same(dtype, shape, data):
    order = data.draw(st.permutations(range(len(shape))))
    numbers = torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)
    tensor = numbers.permute(order)
    assert_same(travelled(tensor), tensor)


def test_channels_last_stays_channels_last():
    tensor = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert travelled(tensor).is_contiguous(memory_format=torch.channels_last)
    assert_same(travelled(tensor), tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12).reshape(3, 4)[:, ::2],
        torch.arange(3).expand(4, 3),
        torch.arange(100)[40:50],
        torch.tensor(3.5),
        torch.empty(0),
        torch.ones(3, requires_grad=True),
        torch.nn.Parameter(torch.ones(3)),
        torch.tensor([1 + 2j]).conj(),
    ],
    ids=["gaps", "repeats", "part", "0-dim", "empty", "trained", "parameter", "conjugate"],
)
def test_numbers_survive_whatever_the_tensor_is(tensor):
    found = travelled(tensor)
    assert type(found) is type(tensor) and found.requires_grad == tensor.requires_grad
    assert torch.equal(found, tensor)


def test_a_view_takes_no_more_along_than_it_shows():
    assert sum(part.nbytes for part in pack(torch.zeros(1_000_000)[:10])) < 1000


def test_whatever_is_around_tensors_comes_along():
    value = Holder(
        "x", {"a": [torch.ones(2), None, (3, "four")], "b": OrderedDict(c=np.arange(3.0)), "d": np.empty(0)}
    )
    found = travelled(value)
    assert found.name == "x" and found.inside["a"][1:] == [None, (3, "four")]
    assert torch.equal(found.inside["a"][0], torch.ones(2))
    assert type(found.inside["b"]) is OrderedDict and found.inside["b"]["c"].tolist() == [0, 1, 2]
    assert found.inside["d"].shape == (0,)


def test_one_tensor_in_two_places_stays_one():
    tensor = torch.ones(3)
    first, second = travelled([tensor, tensor])
    assert first is second and len(pack([tensor, tensor])) == 2


def test_a_module_keeps_its_parameters():
    module = torch.nn.Linear(3, 2)
    found = travelled(module)
    assert torch.equal(found.weight, module.weight) and found.weight.requires_grad


def test_packing_and_unpacking_copy_nothing():
    tensor, array = torch.zeros(5), np.zeros(5)
    buffers = pack((tensor, array))
    tensor += 1
    array += 2
    found_tensor, found_array = unpack(buffers)
    assert found_tensor.sum() == 5 and found_array.sum() == 10
    assert found_tensor.data_ptr() == tensor.data_ptr()


@given(st.binary(min_size=1, max_size=300))
def test_copies_are_aligned(content):
    copy = copied(content)
    assert bytes(copy) == content
    assert copy.ctypes.data % ALIGNMENT == 0
