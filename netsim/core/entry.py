"""Describes a component without its class, which may bring PyTorch with it."""

from __future__ import annotations

import inspect
import pkgutil
from dataclasses import dataclass
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.core.options import Options


@dataclass(frozen=True)
class Entry:
    """A component's line in a catalogue.

    An entry point names a class, or, where loading the class takes long, an entry that stands for it. What is stated
    here is stated by the class too, and a test compares them.

    Attributes:
        implementation: The class, or where it is: ``package.module:Class``.
        options: Its ``Options``.
        about: The first line of its docstring.
        network_per_device: Of learners: devices can have different networks.
        suits: Of learners: the families of protocols that the method can be run under.
    """

    implementation: str | type
    options: type[Options]
    about: str
    network_per_device: bool = False
    suits: frozenset[str] = frozenset()

    @classmethod
    def of(cls, found: Any) -> Entry:
        """Describe a class that is loaded.

        Raises:
            AttributeError: It has no ``Options``.
        """
        about = (inspect.getdoc(found) or "").partition("\n")[0]
        return cls(
            found,
            found.Options,
            about,
            getattr(found, "network_per_device", False),
            getattr(found, "SUITS", frozenset()),
        )

    def load(self) -> Any:
        """Return the class.

        Raises:
            ScenarioError: It cannot be imported.
        """
        if not isinstance(self.implementation, str):
            return self.implementation
        try:
            return pkgutil.resolve_name(self.implementation)
        except (ImportError, AttributeError) as error:
            raise ScenarioError(f"cannot load {self.implementation!r}: {error}") from error
