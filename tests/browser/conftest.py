"""Two builds at once on one cluster, looked at before, while and after they run."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from distributed import Client
from rasterio.errors import NotGeoreferencedWarning

import shdask
from shdask.cluster.local import open_local_client
from shdask.cluster.watch import BuildWatch
from shdask.emulator.launch import start_emulator
from shdask.report import BuildReport
from tests.browser.chromium import Browser, open_browser
from tests.cluster.specs import earth_spec

STORE = {"chunk_px": 64, "tile_px": 64}
"""75 tiles."""
SLOW = {"requests_per_minute": 150, "pu_per_minute": 1e6}
"""Of both builds together: they take a minute."""
PLACE = "Bokeh.documents[0].get_model_by_name('map').renderers[0].data_source.data"


@dataclass
class Look:
    """What the page says at one moment."""

    parts: dict[str, str]
    image: list[int]
    """The map's cells, from the south."""


@dataclass
class Story:
    """Everything that was seen."""

    reports: dict[str, BuildReport] = field(default_factory=dict)
    before: Look | None = None
    first: Look | None = None
    later: Look | None = None
    other: Look | None = None
    reloaded: Look | None = None
    after: Look | None = None
    explained: str = ""
    builds: list[Any] = field(default_factory=list)
    picture: Path = Path()
    errors: list[str] = field(default_factory=list)

    def colours(self) -> set[tuple[int, ...]]:
        """What the screenshot is made of."""
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            source = rasterio.open(self.picture)
        with source:
            pixels = source.read((1, 2, 3)).reshape(3, -1)
        return {tuple(colour) for colour in np.unique(pixels, axis=1).T.tolist()}


def look(browser: Browser) -> Look:
    names = ("state", "legend", "cards", "spending", "explanation")
    image = browser.evaluate(f"Array.from({PLACE}.image[0] ?? [])")
    return Look(parts={name: browser.text(name) for name in names}, image=image or [])


@contextmanager
def build_in_a_thread(client: Client, store: Path, story: Story) -> Iterator[None]:
    """A build with a client of its own, as another user's."""

    def build() -> None:
        with Client(client.scheduler.address, set_as_default=False) as owner:
            story.reports[store.name] = shdask.build_cube(earth_spec(store=STORE, service=SLOW), store, client=owner)

    thread = threading.Thread(target=build)
    thread.start()
    yield
    thread.join()


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One look after the other; the tests then say what was to be seen."""
    folder = tmp_path_factory.mktemp("cubes")
    seen = Story(picture=folder / "page.png")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        service = stack.enter_context(start_emulator(latency_s=0.5))
        for name, value in service.environment().items():
            patch.setenv(name, value)
        client = stack.enter_context(open_local_client(2))
        client.register_plugin(BuildWatch())
        browser = stack.enter_context(open_browser())
        page = client.dashboard_link.replace("/status", "/shdask")
        seen.before = look(browser.open(page))
        with build_in_a_thread(client, folder / "one", seen), build_in_a_thread(client, folder / "two", seen):
            watch_them(browser, page, seen)
        browser.wait_for_text("state", ">done<")
        seen.after = look(browser)
        seen.errors = browser.errors
    return seen


def watch_them(browser: Browser, page: str, seen: Story) -> None:
    """While both run."""
    builds = "Bokeh.documents[0].get_model_by_name('build').options"
    browser.wait_for(f"{builds}.length == 2")
    seen.builds = browser.evaluate(builds)
    one, two = (next(key for key, label in seen.builds if label.endswith(name)) for name in ("one", "two"))
    browser.choose("build", one)
    browser.wait_for_text("legend", "written <b>")
    browser.wait_for(f"{PLACE}.image[0].includes(2)")
    seen.first = look(browser)
    browser.wait_for(f"Array.from({PLACE}.image[0]).filter(cell => cell == 2).length > {seen.first.image.count(2) + 3}")
    seen.later = look(browser)
    browser.click_map(1.5, 1.5)
    browser.wait_for_text("explanation", "<pre>")
    seen.explained = browser.text("explanation")
    browser.screenshot(seen.picture)
    browser.choose("build", two)
    browser.wait_for(f"Bokeh.documents[0].get_model_by_name('build').value == '{two}'")
    browser.wait_for(f"{PLACE}.image[0].includes(2)")
    seen.other = look(browser)
    browser.open(page)
    browser.wait_for(f"{PLACE}.image[0].includes(2)")
    seen.reloaded = look(browser)
