"""The base of every block of a scenario: frozen, strict about its keys, finite in its numbers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of every block of options; unknown keys are refused, values are checked once, here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NoOptions(Options):
    """A component that has nothing to set."""
