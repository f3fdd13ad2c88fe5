"""A component that another block names for itself: by name, with its options beside it."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ConfigDict, model_validator

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.registry import options_of


class Choice(Options):
    """``{name: small_resnet, widths: [16, 32]}``, or a name alone.

    Attributes:
        KIND: What it is a choice of, one of :data:`netsim.core.registry.KINDS`.
        name: A registered name, or ``package.module:Class``.
    """

    model_config = ConfigDict(extra="allow")

    KIND: ClassVar[str]
    name: str

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _options_fit(self) -> Choice:
        try:
            self._take(options_of(self.KIND, self.name, self.options))
        except ScenarioError as error:
            raise ValueError(str(error)) from error
        return self

    def _take(self, options: Options) -> None:
        """Return the options as they were understood; override it to keep more than was written."""

    @property
    def options(self) -> dict[str, Any]:
        """Return the component's own options."""
        return dict(self.__pydantic_extra__ or {})
