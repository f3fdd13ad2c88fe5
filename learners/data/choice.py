"""A data set that a component of the scenario names for itself, beside the block ``data``."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, model_validator

from learners.data.dataset import DataSource
from netsim.errors import ScenarioError
from netsim.options import Options
from netsim.registry import load, options_of


class DataChoice(Options):
    """A data set by name, with its options beside it: ``{name: mnist, root: ../data}``."""

    model_config = ConfigDict(extra="allow")

    name: str

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _options_fit(self) -> DataChoice:
        try:
            options = options_of("datasets", self.name, self.__pydantic_extra__ or {})
        except ScenarioError as error:
            raise ValueError(str(error)) from error
        # As what they are, so that paths are known to be paths.
        object.__setattr__(self, "__pydantic_extra__", dict(options))
        return self

    def source(self) -> DataSource:
        """The data set's reader."""
        cls = load("datasets", self.name)
        source: DataSource = cls(cls.Options.model_validate(dict(self.__pydantic_extra__ or {})))
        return source
