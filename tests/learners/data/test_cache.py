"""A cache gives back what was put into it, or nothing."""

from pathlib import Path

import numpy as np

from learners.data.cache import Cache


def test_one_changed_byte_anywhere_makes_an_array_be_computed_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "key")
    arrays = {
        "a": np.arange(6, dtype=np.float16).reshape(2, 3).T,
        "b": np.array([True, False]),
        "c": np.empty((0, 2)),
    }
    cache.put(arrays)
    found = cache.get(*arrays)
    assert found is not None
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key-a.npy", "key-b.npy", "key-c.npy"]
    file = tmp_path / "key-a.npy"
    right = file.read_bytes()
    for place in range(len(right) - 16, len(right)):  # the last of the array, and the checksum
        file.write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
        assert cache.get("a") is None
    file.write_bytes(right)
    assert cache.get("a") is not None
