"""The check that a data set is what a data source has to return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from learners.data.dataset import MultimodalDataset
from netsim.core.asking import wrong


def check_dataset(source: str, data: Any) -> None:
    """Check that ``data``, which ``source`` has returned, is a data set whose parts fit to each other.

    Raises:
        ScenarioError: It is not; names the first attribute that is wrong, what it must be and what was found.
    """
    if not isinstance(data, MultimodalDataset):
        raise wrong(f"data: {source}.load", "a MultimodalDataset", data)
    for attribute, allowed, found in _faults(data):
        raise wrong(f"data: {source}.load", f"a data set whose {attribute} {allowed}", found)


class _Found(str):
    """A text that is shown as it is."""

    def __repr__(self) -> str:
        return str(self)


def _faults(data: MultimodalDataset) -> Iterator[tuple[str, str, Any]]:
    """Yield attributes that are wrong, with what they must be and what they are; those before are right."""
    from torch import Tensor, int64

    labels = data.labels
    if not isinstance(labels, Tensor) or labels.dim() != 1:
        yield "labels", "are a tensor [samples]", _shown(labels)
        return
    if labels.dtype != int64 and not labels.is_floating_point():
        yield "labels", "are int64, or floating point where they are no classes", _shown(labels)
    count = len(labels)
    if data.classes and labels.is_floating_point():
        yield "labels", "are int64, for it has classes", _shown(labels)
    elif not labels.is_floating_point() and count:
        least, most = int(labels.min()), int(labels.max())
        if least < 0 or most >= len(data.classes or ()):
            allowed = (
                f"are from 0 to {len(data.classes or ()) - 1}, for it has {len(data.classes or ())} classes"
            )
            yield "labels", allowed, _Found(f"labels from {least} to {most}")
    if not isinstance(data.inputs, Mapping) or not data.inputs:
        yield "inputs", "are a tensor [samples, ...] for each modality, by name", _shown(data.inputs)
        return
    for name, own in data.inputs.items():
        if not isinstance(own, Tensor) or own.dim() < 2 or len(own) != count:
            yield (
                f"inputs of {name!r}",
                f"are a tensor [{count}, ...], for it has {count} labels",
                _shown(own),
            )
    if not isinstance(data.groups, np.ndarray) or data.groups.shape != (count,):
        yield "groups", f"are an array [{count}], the person or source of each sample", _shown(data.groups)
    for name in ("train", "test"):
        rows = getattr(data, name)
        if not isinstance(rows, np.ndarray) or rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            yield name, "is an array of row numbers, int64 [rows]", _shown(rows)
        elif not len(rows):
            yield name, "has a row at least", _Found("none")
        elif rows.min() < 0 or rows.max() >= count:
            yield name, f"has rows from 0 to {count - 1}", _Found(f"rows from {rows.min()} to {rows.max()}")
    if both := np.intersect1d(data.train, data.test).tolist():
        yield "train and test", "have no row in common", _Found(f"{len(both)} in both, the first {both[0]}")


def _shown(found: Any) -> Any:
    """Return type and shape of an array, and anything else as it is."""
    if hasattr(found, "shape") and hasattr(found, "dtype"):
        return _Found(f"{type(found).__name__} of {found.dtype} {list(found.shape)}")
    return found
