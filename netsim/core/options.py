"""The base of every block of a scenario: frozen, strict about its keys, finite in its numbers."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

LARGEST = 2**63
"""Whole numbers are smaller than this, as in tables."""

MOST_AT_ONCE = 1024
"""Threads or workers, at most."""


class Options(BaseModel):
    """Base of every block of options; unknown keys are refused, values are checked once, here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _are_of_machine_size(self) -> Self:
        for key, value in self:
            if _is_too_large(value):
                raise ValueError(f"{key}: whole numbers must be smaller than 2^63")
        return self


class NoOptions(Options):
    """A component that has nothing to set."""


def _is_too_large(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_is_too_large, value))
    return isinstance(value, int) and abs(value) >= LARGEST
