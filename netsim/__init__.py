"""A discrete-event simulator of wireless devices that learn together.

From Python: ``netsim.run("scenarios/two_devices.yaml")`` runs a scenario, ``netsim.load("runs/...")`` reads a run,
``netsim.resume("runs/...")`` lets one go on, ``netsim.load_model("runs/...", device=3)`` reads a model that it kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsim.app.models import load_model as load_model
    from netsim.app.models import load_test as load_test
    from netsim.app.python import load as load
    from netsim.app.python import resume as resume
    from netsim.app.python import run as run

    __version__: str


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: who checks a scenario does not wait for pandas."""
    if name == "gym":
        from importlib import import_module

        return import_module("netsim.gym")
    if name in ("run", "resume", "load"):
        from netsim.app import python

        return getattr(python, name)
    if name in ("load_model", "load_test"):
        from netsim.app import models

        return getattr(models, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("netsim")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
