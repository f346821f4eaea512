"""Reads the blocks of code of a page of Markdown, and runs them in order in one folder and one namespace.

A title that begins with ``not run here:`` says why a block is not run; any other title is the name of a file.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shdask.plan.spec import CubeSpec

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]*)")? *\n(?P<code>.*?)^(?P=indent)``` *$',
    re.MULTILINE | re.DOTALL,
)
SHOWN = frozenset({"text", "diff"})
"""Languages of what is only looked at; so is what has none."""
NOT_RUN = "not run here: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fence of a page."""

    page: str
    line: int
    language: str
    title: str
    code: str

    @property
    def reason(self) -> str | None:
        """Why it is not run; None where it is."""
        return self.title.removeprefix(NOT_RUN) if self.title.startswith(NOT_RUN) else None


def read_blocks(page: str) -> list[Block]:
    """The blocks of a page that are more than looked at, in order; ``page`` counts from the repository's folder."""
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(
            page=page,
            line=text[: found.start()].count("\n") + 1,
            language=found["language"],
            title=found["title"] or "",
            code=textwrap.dedent(found["code"]),
        )
        for found in FENCE.finditer(text)
        if found["language"] not in SHOWN
    ]


@dataclass(slots=True, kw_only=True)
class Runner:
    """What the blocks of one page leave behind: names in Python, files in the working directory."""

    command: Callable[..., tuple[object, str, str]]
    """The command line in this process: words -> exit code, stdout, stderr."""
    job: Mapping[str, Any]
    """The tables of a job, which blocks that are only tables of one join."""
    names: dict[str, Any] = field(default_factory=dict)

    def run(self, blocks: Sequence[Block]) -> None:
        """Run all but those with a reason. What is raised has a note with the page and the line."""
        for block in blocks:
            try:
                if block.reason is None:
                    RUN[block.language](self, block)
            except BaseException as error:
                error.add_note(f"{block.page}:{block.line}")
                raise

    def run_python(self, block: Block) -> None:
        """In the page's namespace, at its own lines of the page, so that a traceback names them."""
        exec(compile("\n" * block.line + block.code, block.page, "exec"), self.names)  # noqa: S102  # our own page

    def write(self, block: Block) -> None:
        """A file of its title; a page with a job of its own makes its own cube."""
        path = Path(block.title).expanduser()
        if path.name == "job.toml":
            shutil.rmtree("cube.zarr", ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, "utf-8")

    def read_toml(self, block: Block) -> None:
        """A job, tables of one, or another file."""
        if block.title:
            self.write(block)
        tables = tomllib.loads(block.code)
        if "cube" in tables:
            CubeSpec.from_file(block.title)
        elif not block.title:
            fields = {**self.job, **tables, "layers": self._join_layers(tables.get("layers", {}))}
            CubeSpec(**fields.pop("cube"), **fields).with_scripts()

    def _join_layers(self, layers: Mapping[str, Any]) -> dict[str, Any]:
        """A layer that names its collection is whole; another one changes the job's of that name."""
        known = self.job["layers"]
        return known | {
            name: table if {"collection", "sources"} & set(table) else known[name] | table
            for name, table in layers.items()
        }

    def run_shell(self, block: Block) -> None:
        """Line by line; a command that cannot be run here wants a reason."""
        for line in block.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                assert words[0] in COMMANDS, f"{line!r} cannot be run; say why in the block's title"
                COMMANDS[words[0]](self, words[1:])

    def run_shdask(self, words: list[str]) -> None:
        """A command of ours; it must end with 0."""
        code, _, err = self.command(*words)
        assert code == 0, f"shdask {shlex.join(words)} ended with {code}: {err}"

    def export(self, words: list[str]) -> None:
        """Variables; those of an account stay the emulator's."""
        for word in words:
            name, equals, value = word.partition("=")
            assert equals, word
            if not name.startswith(("SH_", "AWS_")):
                os.environ[name] = value

    def check_pip(self, words: list[str]) -> None:
        """Nothing is installed; what is asked for of ours must exist."""
        extras = {extra for word in words for part in re.findall(r"\[(.*)\]", word) for extra in part.split(",")}
        assert words[0] == "install"
        assert extras <= set(importlib.metadata.metadata("shdask").get_all("Provides-Extra"))

    def check_make(self, words: list[str]) -> None:
        """Nothing is made; the target must exist."""
        assert words[0] in re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


RUN: Mapping[str, Callable[[Runner, Block], None]] = {
    "python": Runner.run_python,
    "sh": Runner.run_shell,
    "toml": Runner.read_toml,
    "js": Runner.write,
    "yaml": Runner.write,
}
COMMANDS: Mapping[str, Callable[[Runner, list[str]], None]] = {
    "shdask": Runner.run_shdask,
    "export": Runner.export,
    "pip": Runner.check_pip,
    "make": Runner.check_make,
}
