"""A data set that a component names for itself, in addition to the block ``data``."""

from __future__ import annotations

from typing import ClassVar

from learners.choice import Choice
from learners.data.dataset import DataSource
from netsim.core.options import Options
from netsim.core.registry import load


class DataChoice(Choice):
    """A data set by name, with its options beside it: ``{name: mnist, root: ../data}``."""

    KIND: ClassVar[str] = "datasets"

    def _take(self, options: Options) -> None:
        """Keep the options with their types: only a path can be resolved from the scenario's folder."""
        object.__setattr__(self, "__pydantic_extra__", dict(options))

    def source(self) -> DataSource:
        """Return the data set's reader."""
        cls = load(self.KIND, self.name)
        source: DataSource = cls(cls.Options.model_validate(self.options))
        return source
