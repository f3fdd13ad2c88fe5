"""Counts of the program's text, before and after: size, a learner's contract, imports, cycles, docstrings, duplicates.

    python benchmarks/structure.py --before ../before
    python benchmarks/structure.py --before ../before --names      # with the names behind the counts

Read from the source of netsim, learners and analysis; nothing is imported.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ENTRANCES = ("netsim", "netsim.gym", "analysis")
"""Modules that people import and no other of ours does."""

PACKAGES = ("netsim", "learners", "analysis")
CONTRACTS = ("Learner", "ServerLearner")
QUESTIONS = {"what", "whether", "who", "whom", "whose", "where", "how", "which", "when", "why"}
WINDOW = 6
"""Lines in a row that count as duplicated if they are found twice."""

_VERBS = """
abort accept accumulate act adapt add adjust adopt advance aggregate allocate allow announce answer append apply
arrange ask assemble assert assign attach average balance begin bind blend book bound break bring broadcast
build bundle calculate call cancel carry cast catch change charge check choose clamp clear clip close collect
combine compare complete compute concatenate connect consume continue convert copy count cover create cut deal
decide declare decode decrease deduce defer define delete deliver derive describe detach detect determine
discard dispatch distil distribute divide do download drain draw drop emit enable encode end enforce enlarge
enqueue ensure enter estimate evaluate exchange execute exit expand expect explain export extend extract fail
fetch fill filter find finish fix flatten flush fold follow forget fork format freeze fulfil gather generate get
give go group guard guess halve hand handle have hear hide hold increase infer inform initialise initialize
insert inspect install interpolate interpret invert invoke iterate join judge keep kill know launch learn leave
let lift list listen load lock log look lower make map match measure merge meter mix move normalise normalize
note notify observe offer open override pack pad parse partition pass pause pay pick place plan plot plug pop
precompute predict prepare preserve print produce promise propagate provide pull push put quantise raise read
rebuild receive recompute record reduce refuse register reject release remember remove rename render repeat
replace replay report require rescale reserve reset reshape resize resolve restore resume retrieve return reuse
reverse run save say scan schedule search select send separate serialise serve set settle show shrink shuffle
shut simulate skip sleep smooth solve sort speak spend split stand start stop store strip submit subtract
suspend swap switch take tell terminate throw tick train transform translate try tune turn undo unflatten unpack
unwrap update upload use validate verify visit wait wake walk warn watch weigh widen wind withdraw work wrap
write yield
"""
VERBS = set(_VERBS.split())
"""Verbs that a docstring may begin with, to tell somebody what to do; words that are nouns as often are left out."""


@dataclass(frozen=True)
class Module:
    """A file of the program: its dotted name, its path inside the checkout, its text."""

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Return it parsed."""
        return ast.parse(self.text)

    @property
    def folder(self) -> str:
        """Return the package directory that it is in; a package's ``__init__`` is in its own."""
        return ".".join(self.path.parent.parts)


def modules_of(folder: Path) -> dict[str, Module]:
    """Return all modules of a checkout by name."""
    found = {}
    for package in PACKAGES:
        for file in sorted((folder / package).rglob("*.py")):
            path = file.relative_to(folder)
            parts = path.parent.parts if path.name == "__init__.py" else (*path.parent.parts, path.stem)
            found[".".join(parts)] = Module(".".join(parts), path, file.read_text())
    return found


def imports(module: Module, modules: dict[str, Module]) -> tuple[set[str], set[str]]:
    """Return which modules of ours ``module`` imports: when it runs, and for type checking alone."""
    run, typed = set(), set()

    def visit(node: ast.AST, into: set[str]) -> None:
        if isinstance(node, ast.Import):
            into.update(alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.folder.split(".")
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                into.update({inner} if inner in modules else {base} & modules.keys())
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, typed)
            for child in node.orelse:
                visit(child, into)
        else:
            for child in ast.iter_child_nodes(node):
                visit(child, into)

    visit(module.tree, run)
    return run - {module.name}, typed - run - {module.name}


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of more than one node in which each reaches each (strongly connected components)."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        ahead = [start]
        while ahead:
            for node in edges.get(ahead.pop(), ()):
                if node not in found:
                    found.add(node)
                    ahead.append(node)
        return found

    reach = {node: reached(node) for node in edges}
    groups = {frozenset({node, *(n for n in reach[node] if node in reach.get(n, ()))}) for node in edges}
    return sorted((sorted(group) for group in groups if len(group) > 1), key=len, reverse=True)


def contract(modules: dict[str, Module]) -> tuple[list[str], list[str]]:
    """Return the hooks and attributes that a learner's base classes have, and those of them that are flags."""
    places = [modules[name] for name in ("netsim.learner", "netsim.learning") if name in modules]
    hooks, flags = [], []
    for module in places:
        for base in module.tree.body:
            if not isinstance(base, ast.ClassDef) or base.name not in CONTRACTS:
                continue
            for member in base.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    names, kind = [member.name], member.returns if member.decorator_list else None
                elif isinstance(member, ast.AnnAssign):
                    names, kind = [ast.unparse(member.target)], member.annotation
                elif isinstance(member, ast.Assign):
                    names, kind = [ast.unparse(target) for target in member.targets], None
                else:
                    continue
                public = [f"{base.name}.{name}" for name in names if not name.startswith("_")]
                hooks += public
                flags += (
                    public if kind is not None and ast.unparse(kind) in ("bool", "ClassVar[bool]") else []
                )
    return hooks, flags


def docstrings(module: Module) -> Iterator[tuple[str, str]]:
    """Yield every public docstring with its kind: ``module``, ``class`` or ``function``."""

    def visit(node: ast.Module | ast.ClassDef) -> Iterator[tuple[str, str]]:
        for child in node.body:
            if (
                not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                or child.name[0] == "_"
            ):
                continue
            text = ast.get_docstring(child)
            if text:
                yield "class" if isinstance(child, ast.ClassDef) else "function", text
            if isinstance(child, ast.ClassDef):
                yield from visit(child)

    text = ast.get_docstring(module.tree)
    if text:
        yield "module", text
    yield from visit(module.tree)


def first_word(text: str) -> str:
    """Return the first word, in small letters."""
    return text.split()[0].strip("\"'`*.,:;()").lower()


def share(words: list[str], among: set[str]) -> str:
    """Return how many of ``words`` are ``among`` others."""
    count = sum(word in among for word in words)
    return f"{count} of {len(words)} ({100 * count / max(1, len(words)):.0f} %)"


def duplicated(modules: Iterable[Module]) -> int:
    """Return the lines that are in :data:`WINDOW` lines in a row which are found elsewhere too.

    Lines are those of the program as Python writes it out, without docstrings, comments, layout and imports.
    """
    places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for module in modules:
        tree = ast.parse(module.text)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [one for one in body if not _says_or_imports(one)] or [ast.Pass()]  # type: ignore[attr-defined]
        lines = [line.strip() for line in ast.unparse(tree).splitlines() if line.strip()]
        for start in range(len(lines) - WINDOW + 1):
            places[tuple(lines[start : start + WINDOW])].append((module.name, start))
    twice = (place for found in places.values() if len(found) > 1 for place in found)
    return len({(name, start + offset) for name, start in twice for offset in range(WINDOW)})


def _says_or_imports(node: ast.stmt) -> bool:
    says = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return says or isinstance(node, ast.Import | ast.ImportFrom)


@dataclass(frozen=True)
class Counts:
    """What was counted of one checkout.

    Attributes:
        rows: By what is counted, the count as text.
        names: By what is counted, the names behind it.
    """

    rows: dict[str, str]
    names: dict[str, list[str]]


def count(folder: Path) -> Counts:
    """Count everything in ``folder``, a checkout."""
    modules = modules_of(folder)
    rows: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    for package in PACKAGES:
        own = [module for module in modules.values() if module.path.parts[0] == package]
        nodes = Counter(type(node) for module in own for node in ast.walk(module.tree))
        rows[f"{package}: lines"] = f"{sum(len(module.text.splitlines()) for module in own):,}"
        rows[f"{package}: files"] = str(len(own))
        rows[f"{package}: classes"] = str(nodes[ast.ClassDef])
        rows[f"{package}: functions"] = str(nodes[ast.FunctionDef] + nodes[ast.AsyncFunctionDef])
    hooks, flags = contract(modules)
    rows["hooks and attributes of a learner"], names["hooks and attributes of a learner"] = (
        str(len(hooks)),
        hooks,
    )
    rows["flags among them"], names["flags among them"] = str(len(flags)), flags
    found = {name: imports(module, modules) for name, module in modules.items()}
    for title, which in (("our modules that one imports", 0), ("for type checking alone", 1)):
        top = sorted(((len(one[which]), name) for name, one in found.items()), reverse=True)[:10]
        rows[f"{title}: most"] = ", ".join(str(number) for number, _ in top[:3])
        names[f"{title}: most"] = [f"{number} {name}" for number, name in top]
    over = [name for name, one in found.items() if len(one[0]) > 14]
    rows["modules that import more than 14"], names["modules that import more than 14"] = str(len(over)), over
    for package in PACKAGES:
        edges: dict[str, set[str]] = {}
        for name, (run, _) in found.items():
            if modules[name].path.parts[0] == package:
                if name in ENTRANCES or name.endswith("__main__"):
                    continue
                folder_of = modules[name].folder
                inside = {modules[other].folder for other in run if modules[other].path.parts[0] == package}
                edges.setdefault(folder_of, set()).update(inside - {folder_of})
        groups = cycles(edges)
        title = f"{package}: folders in cycles"
        rows[title] = f"{sum(map(len, groups))} of {len(edges)}"
        names[title] = [", ".join(group) for group in groups]
    said = [(kind, first_word(text)) for module in modules.values() for kind, text in docstrings(module)]
    for title, kinds in (("functions", {"function"}), ("all", {"module", "class", "function"})):
        words = [word for kind, word in said if kind in kinds]
        rows[f"docstrings ({title}) that begin with a verb"] = share(words, VERBS)
        rows[f"docstrings ({title}) that begin with what, whether, who ..."] = share(words, QUESTIONS)
    rows[f"lines that {WINDOW} in a row are found twice"] = str(duplicated(modules.values()))
    return Counts(rows, names)


def main() -> None:
    """Print a table, and with ``--names`` what is behind it."""
    parser = argparse.ArgumentParser(description="Counts of the program's text, before and after.")
    parser.add_argument(
        "--before", type=Path, metavar="FOLDER", help="a checkout of the version to compare with"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(__file__).parent.parent, help="default: this checkout"
    )
    parser.add_argument("--names", action="store_true", help="print the names behind the counts")
    words = parser.parse_args()
    folders = {"before": words.before, "after": words.folder} if words.before else {"now": words.folder}
    counted = {word: count(folder) for word, folder in folders.items()}
    titles = list(dict.fromkeys(title for one in counted.values() for title in one.rows))
    print(f"| what | {' | '.join(counted)} |\n| --- |{' --- |' * len(counted)}")
    for title in titles:
        print(f"| {title} | {' | '.join(one.rows.get(title, '') for one in counted.values())} |")
    if words.names:
        for word, one in counted.items():
            for title, found in one.names.items():
                print(f"\n{word}, {title}:\n  " + "\n  ".join(found or ["none"]))


if __name__ == "__main__":
    main()
