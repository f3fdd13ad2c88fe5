"""Finds modules of a user's own beside the scenario that names them, whatever the current folder is."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.own_code import with_its_place

_folders: list[str] = []


class Found(NamedTuple):
    """A module that a scenario names.

    Attributes:
        file: Its code; a folder if it is a package without code of its own.
        folder: The folder of a user's own that it is in; None if it is installed.
    """

    file: Path
    folder: Path | None


class _Finder(MetaPathFinder):
    """Finds what nothing else finds, so a file beside a scenario never takes the place of a library."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """Find a module at the top; a package finds what is inside it by its own path."""
        return PathFinder.find_spec(name, _folders) if path is None else None


_finder = _Finder()


def look_in(folders: Iterable[Path | str]) -> None:
    """Look for modules in these folders too: after all that is installed, before folders named earlier."""
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)
    new = list(dict.fromkeys(str(folder) for folder in folders))
    _folders[:] = new + [folder for folder in _folders if folder not in new]
    importlib.invalidate_caches()  # a file may have been written a moment ago


def looked_in() -> list[str]:
    """Return the folders, in order: another process needs them to find the same."""
    return list(_folders)


def loaded_from(folders: Collection[Path]) -> dict[str, Path]:
    """Return the files of modules that are loaded from any of ``folders``, by name."""
    files = {name: getattr(module, "__file__", None) for name, module in [*sys.modules.items()] if folders}
    return {
        name: Path(file)
        for name, file in sorted(files.items())
        if file and any(Path(file).is_relative_to(folder) for folder in folders)
    }


def find(name: str) -> Found:
    """Find the module of ``package.module:Class`` without running it, which takes no time whatever it imports.

    Raises:
        ScenarioError: There is no such module, another one has its name, or it is not Python.
    """
    module = name.partition(":")[0]
    top, *inner = module.split(".")
    spec, (folder, own) = _spec(top), _own(top)
    if own is not None and own.origin is not None and (spec is None or spec.origin != own.origin):
        taken = spec.origin if spec else "a module that is loaded already"
        raise ScenarioError(
            f"cannot load {name!r}: {own.origin} cannot be used, for {top!r} is already the name of {taken}; "
            "give your own another name"
        )
    if spec is None:
        raise ScenarioError(f"cannot load {name!r}: no module {top!r} {_places()}.{_hint(top)}")
    path = top
    _compile(name, spec)
    for part in inner:
        path, within = f"{path}.{part}", list(spec.submodule_search_locations or ())
        found = sys.modules[path].__spec__ if path in sys.modules else PathFinder.find_spec(path, within)
        if found is None:
            where = f"in {' or '.join(within)}" if within else f"for {spec.origin} is no folder"
            raise ScenarioError(f"cannot load {name!r}: no module {path!r} {where}")
        spec = found
        _compile(name, spec)
    is_own = own is not None and (own.origin is not None or spec.origin is None)
    file = spec.origin or next(iter(spec.submodule_search_locations or ()), top)
    return Found(Path(file), Path(folder) if is_own else None)


def load_class(name: str) -> Any:
    """Return the class of ``package.module:Class``, which must be whole: with options, and no method missing.

    Raises:
        ScenarioError: As :func:`find`; or the module fails when it runs, or has no such class.
    """
    find(name)
    module, _, attribute = name.partition(":")
    try:
        loaded = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise ScenarioError(f"cannot load {name!r}: {with_its_place(error)}") from error
    found = getattr(loaded, attribute, None)
    at = getattr(loaded, "__file__", None) or module
    if not isinstance(found, type):
        classes = sorted(key for key, value in vars(loaded).items() if _defined_in(value, module))
        near = difflib.get_close_matches(attribute, classes, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Its classes: {', '.join(classes) or 'none'}."
        what = "is no class" if hasattr(loaded, attribute) else "is not there"
        raise ScenarioError(f"cannot load {name!r}: {attribute!r} {what} in {at}. {hint}")
    options = getattr(found, "Options", None)
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise ScenarioError(
            f"cannot load {name!r}: {attribute} in {at} has no Options derived from netsim.core.options.Options; "
            "derive the class from the base of its kind"
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise ScenarioError(f"cannot load {name!r}: {attribute} in {at} does not define {missing}")
    return found


def _defined_in(value: Any, module: str) -> bool:
    return isinstance(value, type) and value.__module__ == module and hasattr(value, "Options")


def _spec(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except ValueError:  # a module without a spec, like a script that runs
        return None


def _own(top: str) -> tuple[str, ModuleSpec | None]:
    """Find that name in the folders of a user's own: the first folder that has it, and the module there."""
    for folder in _folders:
        if spec := PathFinder.find_spec(top, [folder]):
            return folder, spec
    return "", None


def _places() -> str:
    return f"in {', '.join(_folders)} or among installed packages" if _folders else "among installed packages"


def _hint(top: str) -> str:
    here = os.getcwd()
    if here not in _folders and PathFinder.find_spec(top, [here]):
        return (
            f" There is one in the current folder, where none is looked for: put it beside the scenario, or write "
            f"modules: [{here}]."
        )
    there = {path.stem for folder in _folders for path in Path(folder).glob("*.py")}
    near = difflib.get_close_matches(top, sorted(there), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _compile(name: str, spec: ModuleSpec) -> None:
    if spec.name in sys.modules or not isinstance(spec.loader, InspectLoader):
        return
    try:
        spec.loader.get_code(spec.name)
    except (SyntaxError, ImportError) as error:
        raise ScenarioError(f"cannot load {name!r}: {with_its_place(error)}") from error
