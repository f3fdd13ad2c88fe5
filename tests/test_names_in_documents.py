"""Whatever a document names in code's letters is there: files, functions, classes and their attributes, keys, names."""

import ast
import functools
import importlib
import re
import typing
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from learners.choice import Choice
from netsim.core import registry
from netsim.core.options import Options
from netsim.scenario.model import COMPONENTS, Component, Scenario

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which may name what is no more
PACKAGES = ("netsim", "learners", "analysis")
FOLDERS = (*PACKAGES, "tests", "benchmarks", "scenarios", "docs")
FILES = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")]
OBJECTS = {"setup": "Setup", "task": "Task", "work": "TaskGraph", "learner": "Learner"}
"""What pages call an object of a class."""

MADE = r"beta_(priv|sh)_\w+|\w+_aux1|a1_s1_t1"
"""Names that are put together while the program runs, or of files of a data set."""

SOURCE = r"py|ipynb|ya?ml|toml|md"
DATA = r"html|parquet|json|sha256|csv|npz|txt|png|mat|wav|gz|ogg|mp4|graphml"
ELSEWHERE = {
    "np": "numpy",
    "torch": "torch",
    "pandas": "pandas",
    "nn": "torch.nn",
    "F": "torch.nn.functional",
}


def inline(page):
    """What stands between single backticks; blocks of code, and what is printed from the code, are left out."""
    text = page.read_text().partition("\nWhat follows is printed by")[0]
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return dict.fromkeys(re.findall(r"`([^`\n]+)`", text))


# Code.


@functools.cache
def definitions():
    """By module and by class, without their packages: the names that are defined there; and the bases of classes."""
    names, bases = {}, {}
    for file in FILES:
        if file.endswith(".py") and file.startswith(PACKAGES):
            tree = ast.parse((ROOT / file).read_text())
            names.setdefault(Path(file).stem, set()).update(defined(tree))
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    names.setdefault(node.name, set()).update(defined(node))
                    bases.setdefault(node.name, set()).update(ast.unparse(base) for base in node.bases)
    return names, bases


def defined(node):
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            yield from (ast.unparse(target) for target in targets)
    for child in ast.walk(node) if isinstance(node, ast.ClassDef) else ():
        if isinstance(child, ast.Attribute) and ast.unparse(child.value) == "self":
            yield child.attr


def is_defined(owner, name):
    names, bases = definitions()
    owners = [owner]
    for one in owners:  # grows: bases, and theirs
        owners += [base for base in bases.get(one, ()) if base not in owners]
    return any(name in names.get(one, ()) for one in owners)


def is_importable(dotted):
    """A module, or an attribute of one."""
    module, _, attribute = dotted.rpartition(".")
    for name in (dotted, module):
        try:
            found = importlib.import_module(name)
            return name == dotted or hasattr(found, attribute)
        except ImportError:
            continue
    return False


@functools.cache
def words():
    """All words of the code, the scenarios, and the settings of the project."""
    files = [ROOT / file for file in FILES if re.search(r"\.(py|ya?ml|ipynb)$", file)]
    files.remove(Path(__file__))
    text = [path.read_text() for path in (*files, ROOT / "pyproject.toml", ROOT / "Makefile")]
    return set(re.findall(r"\w+", "\n".join(text)))


# Keys of scenarios.


def inside(annotation, kind=None):
    """What can be below a key of this type: models, or the type of what has a name or number of its own."""
    if isinstance(annotation, type) and issubclass(annotation, Component | Choice):
        kind = kind or getattr(annotation, "KIND", "networks")
        yield Component
        yield from (registry.load(kind, name).Options for name in registry.names(kind))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (dict, tuple, list):
        yield [one for part in typing.get_args(annotation) if part is not ... for one in inside(part, kind)]
    else:
        for part in typing.get_args(annotation):
            yield from inside(part, kind)


OF_CLASSES = {"battery": "batteries", "harvest": "harvests"}
"""Components that classes of devices and overrides have, beside those of all devices."""


def is_key(path):
    """Whether some scenario can have this key, however its components are named."""
    here, walked = [Scenario], ()
    for part in path:
        walked, below, found = (*walked, part), [], False
        for place in here:
            if isinstance(place, list):
                found = True
                below += place
            elif part in place.model_fields:
                found = True
                below += inside(
                    place.model_fields[part].annotation, COMPONENTS.get(walked) or OF_CLASSES.get(part)
                )
        if not found:
            return False
        here = below
    return True


def keys_in(tree, path=()):
    """The paths of all keys of a tree, and of what its components are called: a path and a name."""
    for key, value in tree.items():
        yield (*path, str(key)), None
        if (kind := COMPONENTS.get((*path, key))) and isinstance(value, str):
            yield (*path, str(key)), (kind, value)
        elif isinstance(value, dict):
            if kind and "name" in value:
                yield (*path, str(key)), (kind, value["name"])
            yield from keys_in(value, (*path, str(key)))


def wrong_keys(text):
    """Keys and names in a piece of a scenario that no scenario can have."""
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError:
        return
    if not isinstance(tree, dict) or not set(tree) <= set(Scenario.model_fields):
        return
    for path, named in keys_in(tree):
        if not is_key(path):
            yield f"{'.'.join(path)} is no key"
        if named and ":" not in named[1] and named[1] not in registry.names(named[0]):
            yield f"{named[1]!r} is none of {named[0]}"


# Documents.


def wrong(token, page):
    """Why what ``token`` names is not there; nothing if it is, or if it looks like no name."""
    text = page.read_text()
    if re.fullmatch(rf"[\w./-]+\.({SOURCE})|[\w-]+(/[\w-]+)*/", token):
        own = re.search(rf"\b(as|like|file)\s+`{token}`", text) or token == "scenario.yaml"
        known = any(f"/{file}".endswith(f"/{token}") or f"/{token}" in f"/{file}" for file in FILES)
        return None if known or own or (ROOT / token).exists() else "no such file"
    if re.fullmatch(rf"[\w./<>*-]+\.({DATA})", token) or "/" in token:
        return None
    dotted = re.fullmatch(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(\(.*\)|[:=] .*)?", token)
    if dotted:
        first, *rest = dotted[1].split(".")
        if first in Scenario.model_fields and is_key((first, *rest)):
            return None
        if first == "netsim" and rest[0] in registry.KINDS:
            return None
        if first in PACKAGES:
            return None if is_importable(dotted[1]) else "neither a module nor in one"
        if first in ELSEWHERE:
            return None if is_importable(".".join((ELSEWHERE[first], *rest))) else "not in that library"
        if first == "self":
            return None
        return None if is_defined(OBJECTS.get(first, first), rest[0]) else "neither key nor code"
    if ":" in token:
        return next(wrong_keys(token), None)
    name = re.fullmatch(r"([A-Za-z]\w*)(\(.*\))?", token)
    own = " ".join(re.findall(r"^ *```.*?^ *```", text, re.DOTALL | re.MULTILINE))
    if (
        name
        and name[1] not in words()
        and not re.search(rf"\b{name[1]}\b", own)
        and not re.fullmatch(MADE, name[1])
    ):
        return "nothing in the code has that name"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_a_page_names_is_there(page):
    assert {token: why for token in inline(page) if (why := wrong(token, page))} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_scenarios_and_settings_on_a_page_have_keys_that_there_are(page):
    text = page.read_text()
    fenced = re.findall(r"^ *```(?:yaml)?\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    found = [why for block in fenced for why in wrong_keys(block)]
    settings = re.findall(r"--set '?([\w.]+)=", text)
    found += [f"--set {key}" for key in settings if key != "key" and not is_key(tuple(key.split(".")))]
    assert found == []


def test_the_test_finds_what_is_not_there():
    page = ROOT / "README.md"
    for token in (
        "netsim/nowhere.py",
        "units.dbm_to_watts",
        "Processor.colour_w",
        "learners.checks.check_everything",
        "radio.colour",
        "learner.alpha_dk",
        "protocol: {deadlin_s: 3}",
        "radio: {access: shred}",
        "shanon_rate_bps",
        "torch.vmapp",
        "setup.net_works",
    ):
        assert wrong(token, page), token
    assert is_key(("learner", "networks", "image", "hidden")) and not is_key(
        ("learner", "networks", "image", "x")
    )


def test_every_place_that_takes_a_component_is_named_in_the_reference():
    """A path loss, say, is named in three places; each stands where path losses are listed."""
    from netsim.scenario.reference import reference

    def places(model, path=()):
        for key, field in model.model_fields.items():
            for one in inside(field.annotation, COMPONENTS.get((*path, key), "networks")):
                if one is Component:
                    yield (*path, key)
                elif (
                    isinstance(one, type)
                    and issubclass(one, Options)
                    and one.__module__.startswith("netsim.s")
                ):
                    yield from places(one, (*path, key))

    assert set(places(Scenario)) == set(COMPONENTS)
    sections = dict(re.findall(r"^## (\w+): .*\n\n(Named in .*)$", reference(), re.MULTILINE))
    for path, kind in COMPONENTS.items():
        assert f"`{'.'.join(path)}`" in sections[kind]
    assert sections["path_losses"] == (
        "Named in `radio.path_loss`, `server.uplink.path_loss` and `server.downlink.path_loss`."
    )
