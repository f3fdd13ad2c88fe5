"""A discrete-event simulator of wireless devices that learn together.

From Python: ``netsim.run("scenarios/two_devices.yaml")`` runs a scenario, ``netsim.load("runs/...")`` reads a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsim.app.python import load as load
    from netsim.app.python import run as run

    __version__: str


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: who checks a scenario does not wait for pandas."""
    if name in ("run", "load"):
        from netsim.app import python

        return getattr(python, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("netsim")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
