"""The site is built as it is published: no link leads nowhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer

import shdask
from shdask.cli import app as command_line
from tests.docs.blocks import ROOT

QUIET = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "1"}
"""The site's builder is held at its version 1; its successor is another program."""
COMMANDS = sorted(typer.main.get_command(command_line.app).commands)


class Loaded(HTMLParser):
    """What a page loads by itself, without a click."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """The addresses of pictures, scripts and styles."""
        given = dict(attrs)
        is_loaded = tag in {"img", "script", "iframe", "source"} or (tag == "link" and given.get("rel") != "canonical")
        self.addresses += [value for key in ("src", "href", "srcset") if is_loaded and (value := given.get(key))]


def loaded_by(page: Path) -> list[str]:
    parser = Loaded()
    parser.feed(page.read_text("utf-8"))
    return parser.addresses


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by the command of `make docs`; strict, so that a warning fails it."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    """A page for each of the documentation's files."""
    pages = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if not (site / page).is_file()] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Neither scripts nor styles, fonts or pictures: the site works without a network."""
    found = {address for page in site.rglob("*.html") for address in loaded_by(page)}
    assert [address for address in found if re.match(r"[a-z]+:|//", address) and not address.startswith("data:")] == []


def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    """They name no address."""
    styles = "".join(style.read_text("utf-8") for style in site.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)]+", styles) == []


@pytest.mark.parametrize("name", shdask.__all__)
def test_a_public_name_can_be_linked(name: str, site: Path) -> None:
    """Its docstring stands on the site, under one of its names."""
    told = "".join(page.read_text("utf-8") for page in (site / "reference").glob("*.html"))
    assert re.search(rf'id="shdask(\.sentinelhub|\.errors)?\.{name}"', told)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_told(name: str, site: Path) -> None:
    """With its help."""
    assert f"Usage: shdask {name}" in (site / "reference" / "command-line.html").read_text("utf-8")


@pytest.mark.parametrize("name", ["ndvi-of-a-valley", "radar-optical-heights"])
def test_notebooks_are_pages(name: str, site: Path) -> None:
    """With what they draw, beside the files themselves."""
    assert 'src="data:image/png' in (site / "notebooks" / f"{name}.html").read_text("utf-8")
    assert (site / "notebooks" / f"{name}.ipynb").is_file()


def test_recipes_can_be_had(site: Path) -> None:
    """Files that pages link to are part of the site."""
    assert (site / "deploy/slurm/cluster.py").read_bytes() == (ROOT / "deploy/slurm/cluster.py").read_bytes()
