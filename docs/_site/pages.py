"""Brings into the site what lies beside `docs`: README, changelog, recipes, notebooks, decisions, the command line.

Refuses to know what any page says. MkDocs calls the functions by their names, see `hooks` in mkdocs.yml.
"""  # noqa: INP001  # loaded by MkDocs from its path

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from shdask.cli import app as command_line

ROOT = Path(__file__).parents[2]
README = "overview.md"
LINK = re.compile(r"(?<=\]\()(?![a-z+]+:)([^)#\s]+)(?=#[^)\s]*\)|\))")
"""The path of a link or picture in Markdown that is neither an address nor within its page."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """All pages and files of the site."""
    for path in sorted((ROOT / "deploy").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    files.append(File.generated(config, README, abs_src_path=str(ROOT / "README.md")))
    files.append(File.generated(config, "CHANGELOG.md", abs_src_path=str(ROOT / "CHANGELOG.md")))
    files.append(File.generated(config, "decisions/index.md", content=list_decisions()))
    files.append(File.generated(config, "reference/command-line.md", content=tell_commands()))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        page = path.relative_to(ROOT / "docs").with_suffix(".md").as_posix()
        files.append(File.generated(config, page, content=as_page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links as they are on the site; they are written as they are in the repository."""
    del config, files
    return LINK.sub(lambda link: place_link(page.file.src_uri, link[0]), markdown)


def place_link(page: str, link: str) -> str:
    """Where ``link`` of the page ``page`` leads on the site; what is not on the site stays, and fails the build."""
    source = "README.md" if page == README else page if is_beside(page) else f"docs/{page}"
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if target == "README.md":
        target = README
    elif target == "docs/decisions":
        target = "decisions/index.md"
    elif target.startswith("docs/"):
        target = target.removeprefix("docs/").replace(".ipynb", ".md")
    elif (ROOT / target).is_dir():
        target = f"{target}/README.md"
    elif not is_beside(target):
        return link
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def is_beside(path: str) -> bool:
    """Whether a page or file of the site lies beside `docs`, under the same name."""
    return path == "CHANGELOG.md" or path.startswith("deploy/")


def list_decisions() -> str:
    """The page of decisions: their titles, the latest first."""
    lines = [
        "# Decisions",
        "",
        "What surprised: question, options, evidence, and what would change our mind.",
        "",
    ]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md"), reverse=True):
        day = path.name[:10]
        title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ").removeprefix(f"{day}: ")
        lines.append(f"- {day}: [{title[0].upper()}{title[1:]}]({path.name})")
    return "\n".join(lines)


def tell_commands() -> str:
    """The page of the command line: what each command says of itself."""
    group = typer.main.get_command(command_line.app)
    lines = ["# The command line", "", command_line.EXIT_CODES, ""]
    with typer.Context(group, info_name="shdask") as above:
        for name in sorted(group.commands):
            command = group.commands[name]
            with typer.Context(command, info_name=name, parent=above, terminal_width=90) as context:
                lines += [f"## shdask {name}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(lines)


def as_page(notebook: Path) -> str:
    """A notebook as Markdown, with a link to itself."""
    return "\n\n".join([*cells(notebook), f'<a href="{notebook.name}" download>This notebook as a file</a>'])


def cells(notebook: Path) -> Iterator[str]:
    """Text as it stands, code in fences, and what the code has printed, shown and drawn."""
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        yield f"```python\n{source}\n```" if cell["cell_type"] == "code" else source
        for output in cell.get("outputs", ()):
            yield as_shown({kind: "".join(text) for kind, text in output.get("data", output).items()})


def as_shown(data: Mapping[str, str]) -> str:
    """The best form of an output that a page can show."""
    if "image/png" in data:
        return f"![What it draws](data:image/png;base64,{data['image/png']})"
    if "text/html" in data:
        return f'<div class="output">{"".join(data["text/html"].splitlines())}</div>'
    return f"```text\n{data.get('text/plain') or data['text']}\n```"
