"""The commands that pages show, and a reader who types them."""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from warm_python import python, started

from netsim.scenario.regressions import read_plan
from netsim.scenario.yaml_file import as_settings, read_yaml, write_yaml

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^(?:error: .*)?(?:\$ )?(python -m (?:netsim|analysis) .*)$")
INLINE = re.compile(r"`(python -m (?:netsim|analysis) [^`]*)`")
PLACEHOLDER = re.compile(r"\b[A-Z_]{3,}\b")
"""Stands for something in a command that is a form, such as ``python -m netsim verify RUN``."""


SHORTER = {
    "two_devices": {"data.surrogate_clips": 96, "learner.local_epochs": 1},
    "crema_12dev": {"data.surrogate_clips": 240},
}
"""What is changed beyond the regressions' settings."""


ALONE = "{executor: inline, threads: 1, stacking: off}"
"""Ways of running are measured, and round otherwise; a run that goes on may not find other ones faster."""


class Command(NamedTuple):
    """A command of a page: ``python -m PROGRAM WORDS``.

    Attributes:
        page: The page, from the root of the project.
        program: ``netsim`` or ``analysis``.
        words: What follows.
        patterns: Those of the words that the shell replaces by files.
    """

    page: str
    program: str
    words: tuple[str, ...]
    patterns: frozenset[str]

    def __str__(self) -> str:
        return shlex.join(["python", "-m", self.program, *self.words])


def commands() -> Iterator[Command]:
    """Yield commands in the order of pages: in blocks of code, where a line may go on, and in the text."""
    for page in PAGES:
        text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
        for block, inline in re.findall(r"```\w*\n(.*?)```|(?<!`)(`[^`\n]+`)", text, re.DOTALL):
            lines = iter(block.replace("\\\n", " ").splitlines())
            for line in lines:
                if found := COMMAND.match(line.strip()):
                    told = re.sub(r"\s#.*", "", found[1])
                    while told.count("'") % 2:  # a quoted value goes on in the next line
                        told += "\n" + next(lines)
                    yield _command(name, told)
            found = INLINE.match(inline)
            if (
                found
                and " " in found[1][len("python -m netsim") :].strip()
                and not PLACEHOLDER.search(found[1])
            ):
                yield _command(name, found[1])


def _command(page: str, text: str) -> Command:
    _, _, program, *words = shlex.split(text.replace("<run id>", "RUN_ID"))
    bare = {word for word in re.sub(r"'[^']*'", "", text).split() if "*" in word}
    return Command(page, program, tuple(words), frozenset(bare))


def save(page: str, folder: Path) -> list[tuple[str, str]]:
    """Save each block that the page says to save; return language and text of those that it does not name."""
    text, rest = (ROOT / page).read_text(encoding="utf-8"), []
    for before, language, block, after in re.findall(
        r"((?:[^\n]+\n)*)\n```(python|yaml)\n(.*?)```(?=\n*([^\n]*))", text, re.DOTALL
    ):
        if name := re.search(r"as `([\w.]+)`", before) or re.match(r"Save this as `([\w.]+)`", after):
            (folder / name[1]).write_text(block, encoding="utf-8")
        else:
            rest.append((language, block))
    return rest


def shortened(words: list[str]) -> list[str]:
    """Return the words of ``run``, ``check`` or ``partition`` with a shipped scenario made as short as its regression.

    What the page itself changes comes later, and wins.

    Raises:
        FileNotFoundError: It needs data that is not here.
    """
    name, file, *rest = words
    given: list[str] = []
    if Path(file).parts[0] == "scenarios":
        name_of = Path(file).stem
        case = (read_plan(ROOT / "scenarios").scenarios or {})[name_of]
        if case.needs and not (ROOT / "scenarios" / case.needs).exists():
            raise FileNotFoundError(case.needs)
        given = as_settings(
            {
                key: value
                for key, value in (case.set | SHORTER.get(name_of, {})).items()
                if key != "learner.name"
            }
        )
    if name == "run":
        given.append("rounds=2")
        if "--rounds" in rest:
            rest[rest.index("--rounds") + 1] = "2"
    return [name, file, *(word for one in given for word in ("--set", one)), *rest]


class Reader:
    """Somebody who types the commands of a page, one after the other, in a folder.

    Args:
        folder: The folder; it has ``scenarios``, and what the page says to save.
        cache: Where data is kept for all readers.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self._cache = cache
        (folder / "scenarios").symlink_to(ROOT / "scenarios")

    def save(self, page: str) -> None:
        """Save each block that the page says to save."""
        save(page, self.folder)

    def type(self, command: Command) -> None:
        """Run a command, made short.

        Raises:
            FileNotFoundError: It needs data, or a package, that is not here.
            AssertionError: It fails.
        """
        words = list(command.words)
        if "--extend" in words:
            words[words.index("--extend") + 1] = "2"
        elif words[0] in ("run", "check", "partition"):
            words = shortened(words)
        if "--track" in words and find_spec(package := words[words.index("--track") + 1]) is None:
            raise FileNotFoundError(package)
        if words[0] == "resume":
            words[1] = self._to_resume(words)
        if words[0] == "sweep":
            self._shorten_sweep(self.folder / words[1])
        words = [word.replace("/RUN_ID", "/" + self._newest(word)) for word in words]
        words = [path for word in words for path in self._as_the_shell(command, word)]
        if words[0] in ("run", "partition", "resume", "retime", "sweep"):
            words += ["--cache", str(self._cache)]
        self._run(command.program, words, str(command))

    def _run(self, program: str, words: list[str], told: str) -> None:
        done = python("-m", program, *words, cwd=self.folder)
        assert done.returncode == 0, (
            f"{told}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )

    def _as_the_shell(self, command: Command, word: str) -> list[str]:
        if word not in command.patterns:
            return [word]
        return sorted(glob.glob(word, root_dir=self.folder)) or [word]

    def _newest(self, word: str) -> str:
        """Return the id of the newest run beside the one that ``word`` names; some word without one."""
        if "RUN_ID" not in word:
            return ""
        runs = (self.folder / word).parent.glob("*/metadata.json")
        return max(runs, key=lambda file: file.stat().st_mtime_ns).parent.name

    def _shorten_sweep(self, file: Path) -> None:
        """Leave one seed, of each key but the first one value, and of a study two points."""
        tree = read_yaml(file)
        tree["seeds"], tree["set"] = 1, {"rounds": 1, **SHORTER["two_devices"]}
        for key in list(tree.get("grid", {}))[1:]:
            tree["grid"][key] = tree["grid"][key][:1]
        if "study" in tree:
            tree["study"] |= {"trials": 2, "batch": 1}
        file.write_text(write_yaml(tree), encoding="utf-8")

    def _to_resume(self, words: list[str]) -> str:
        """Return the run that is to go on: one that was killed in its second round, or later."""
        _, scenario, run_id = Path(words[1]).parts
        run_id = run_id.replace("RUN_ID", "killed")
        run = self.folder / "runs" / scenario / run_id
        long = shortened(["run", f"scenarios/{scenario}.yaml"])
        long += ["--set", "rounds=6", "--set", "snapshots.every=1", "--run-id", run_id]
        long += ["--set", f"jobs={ALONE}"]
        with started("-m", "netsim", *long, "--cache", self._cache, "--no-plots", cwd=self.folder) as (
            pid,
            end,
        ):
            until = time.monotonic() + 120
            while time.monotonic() < until and not list(run.glob("**/[0-9]*.snapshot")):
                time.sleep(0.01)
            os.kill(pid, signal.SIGKILL)
            end()
        assert json.loads((run / "metadata.json").read_text())["status"] == "running"
        return str(run.relative_to(self.folder))
