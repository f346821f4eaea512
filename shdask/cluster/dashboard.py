"""The page ``/shdask`` among those of Dask's dashboard: draws what the scheduler's watch knows.

Computes nothing, and draws only what has changed. Imports bokeh: an ImportError where that, or Dask's part in it, is
missing.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Protocol

from bokeh.events import Tap
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d, SingleIntervalTicker
from bokeh.models.widgets import Div, Select
from bokeh.plotting import figure
from distributed import Scheduler
from distributed.dashboard.components.scheduler import BOKEH_THEME, env
from distributed.dashboard.core import BokehApplication
from distributed.dashboard.scheduler import template_variables
from tornado.ioloop import IOLoop

from shdask.cluster import dashboard_html as words
from shdask.cluster.snapshot import BuildSnapshot, TileMark
from shdask.cluster.tile_map import BY_WEIGHT, TileMap, find_tile

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.models import LayoutDOM

PAGE = "shdask"
TICK_MS = 1000
ALL_STEPS = "all dates"
NOBODY = "No build has begun on this scheduler yet."
GRID_LINES = 100
"""Tiles on a side, up to which lines between them help."""


class Watch(Protocol):
    """Where the page has everything from."""

    def snapshots(self) -> list[BuildSnapshot]:
        """Of every build that is known, those that run first."""

    def map_of(self, snapshot: BuildSnapshot, step: int | None) -> TileMap:
        """Its map at one step, or of all."""

    def ask(self, key: str, tile: int) -> None:
        """Let the owner explain a tile, in a later snapshot."""


def add_page(scheduler: Scheduler, watch: Watch) -> bool:
    """Put the page on the scheduler's dashboard, and its name on every page there; False without a dashboard."""
    served = scheduler.http_application.applications
    prefixes = [app.prefix for app in served if hasattr(app, "prefix")]
    if not prefixes:
        return False
    variables = template_variables(scheduler)  # the one that all pages share
    if PAGE not in variables["pages"]:
        variables["pages"].append(PAGE)

    def open_page(_scheduler: Scheduler, extra: dict[str, Any], doc: Document) -> None:
        open_document(watch, doc)
        doc.template = env.get_template("simple.html")
        doc.template_variables.update(extra)
        doc.theme = BOKEH_THEME

    app = BokehApplication({f"/{PAGE}": open_page}, scheduler, prefix=prefixes[0], template_variables=variables)
    scheduler.http_application.add_application(app)
    app.initialize(IOLoop.current())
    app.start()
    return True


def open_document(watch: Watch, doc: Document) -> Page:
    """Fill a session's document, and keep it up with the watch for as long as it is open."""
    page = Page(watch)
    page.tick()
    doc.title = "shdask: builds"
    doc.add_root(page.root)
    doc.add_periodic_callback(page.tick, TICK_MS)
    return page


class Page:
    """The models of one session, and what it has chosen."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._shown: tuple[str, int, int | None] | None = None
        """Key, version and step of the map that is drawn."""
        self._snapshot: BuildSnapshot | None = None
        self._chosen: str | None = None
        self.labels: list[tuple[str, str]] = []
        """Keys of the builds to choose from, and what they are called."""
        self.steps: tuple[str, ...] = ()
        self.tile: int | None = None
        """The one that was clicked."""
        self.build = Select(name="build", width=420, margin=(4, 8, 0, 8))
        self.step = Select(name="step", value=ALL_STEPS, width=140, margin=(4, 8, 0, 0))
        self.build.on_change("value", self._choose)
        self.step.on_change("value", lambda _name, _old, _new: self.tick())
        names = ("state", "legend", "cards", "spending", "buckets", "explanation", "errors", "slowest", "workers")
        self.divs = {name: _div(name) for name in names}
        self.image = ColumnDataSource({"image": [], "y": [], "dw": [], "dh": []})
        self.mark = ColumnDataSource({"x": [], "y": [], "size": []})
        self.map = _figure(self.image, self.mark)
        self.map.on_event(Tap, self._tap)
        self.root = self._layout()

    def _layout(self) -> LayoutDOM:
        divs = self.divs
        head = row(self.build, self.step, divs["state"], sizing_mode="stretch_width", height=42)
        left = column(self.map, divs["legend"], width=640)
        right = column(
            *(divs[name] for name in ("cards", "spending", "buckets", "explanation")), sizing_mode="stretch_width"
        )
        tables = row(*(divs[name] for name in ("errors", "slowest", "workers")), sizing_mode="stretch_width")
        body = row(left, right, sizing_mode="stretch_width")
        return column(head, body, tables, sizing_mode="stretch_width")

    def tick(self) -> None:
        """Show what has changed since the last."""
        known = self._watch.snapshots()
        labels = [(each.key, _label(each)) for each in known]
        if labels != self.labels:
            self.labels = labels
            self.build.update(options=labels)
        snapshot = next((each for each in known if each.key == self._chosen), known[0] if known else None)
        self._snapshot = snapshot
        if snapshot is None:
            self.divs["state"].text = NOBODY
            return
        if self.build.value != snapshot.key:
            self.build.value = snapshot.key
        if self.steps != snapshot.steps:
            self.steps = snapshot.steps
            self.step.update(options=[ALL_STEPS, *snapshot.steps], value=ALL_STEPS)
        self.step.visible = bool(snapshot.steps)
        self._say(snapshot, time.time())
        self._draw(snapshot)

    def _say(self, snapshot: BuildSnapshot, now: float) -> None:
        texts = {
            "state": words.say_state(snapshot, now),
            "legend": words.legend(snapshot),
            "cards": words.cards(snapshot, now),
            "spending": words.spending(snapshot),
            "buckets": words.buckets(snapshot),
            "explanation": words.explanation(snapshot, self.tile),
            "errors": words.errors(snapshot),
            "slowest": words.slowest(snapshot),
            "workers": words.workers(snapshot),
        }
        for name, text in texts.items():
            if self.divs[name].text != text:
                self.divs[name].text = text

    @property
    def _step(self) -> int | None:
        """The position of the date that is chosen; None of all."""
        return self.steps.index(self.step.value) if self.step.value in self.steps else None

    def _draw(self, snapshot: BuildSnapshot) -> None:
        shown = (snapshot.key, snapshot.version, self._step)
        if shown == self._shown:
            return
        drawn = self._watch.map_of(snapshot, self._step)
        is_new = self._shown is None or self._shown[0] != snapshot.key
        self._shown = shown
        (cells_y, cells_x), (rows, columns) = drawn.weights.shape, drawn.grid_shape
        height, width = cells_y * drawn.span, cells_x * drawn.span
        self.image.data = {"image": [drawn.weights[::-1]], "y": [rows - height], "dw": [width], "dh": [height]}
        if is_new:
            self.tile = None
            self._frame(rows, columns)

    def _frame(self, rows: int, columns: int) -> None:
        """Let the map's frame hold the whole grid, its tiles square."""
        figure_ = self.map
        side = max(rows / figure_.height, columns / figure_.width) * 1.04
        pad_y, pad_x = (side * figure_.height - rows) / 2, (side * figure_.width - columns) / 2
        figure_.y_range.update(start=-pad_y, end=rows + pad_y)
        figure_.x_range.update(start=-pad_x, end=columns + pad_x)
        figure_.grid.visible = max(rows, columns) <= GRID_LINES
        self.mark.data = {"x": [], "y": [], "size": []}

    def _choose(self, _name: str, _old: str, new: str) -> None:
        self._chosen = new
        self.tick()

    def _tap(self, event: Any) -> None:
        """Ask why the tile under the pointer is bought as it is."""
        snapshot = self._snapshot
        if snapshot is None or event.x is None or event.y is None:
            return
        rows, columns = snapshot.grid_shape
        span = self._watch.map_of(snapshot, self._step).span
        at = (rows - 1 - math.floor(event.y), math.floor(event.x))
        tile = find_tile(snapshot.states, self._step, *at, span)
        if tile is None:
            return
        self.tile = tile
        self._watch.ask(snapshot.key, tile)
        y, x = divmod(tile % (rows * columns), columns)
        self.mark.data = {"x": [x + 0.5], "y": [rows - y - 0.5], "size": [1]}
        self.tick()


def _label(snapshot: BuildSnapshot) -> str:
    state = "" if snapshot.ended is None else " (ended)"
    return f"{snapshot.store[-52:]}{state}"


def _div(name: str) -> Div:
    return Div(name=name, text="", stylesheets=[words.STYLE], sizing_mode="stretch_width", margin=(4, 10, 4, 10))


def _figure(image: ColumnDataSource, mark: ColumnDataSource) -> Any:
    """A frame without axes, 640 px wide."""
    palette = [words.COLOURS[each] for each in BY_WEIGHT]
    drawn = figure(
        name="map",
        width=640,
        height=420,
        x_range=Range1d(start=0, end=1),
        y_range=Range1d(start=0, end=1),
        tools="pan,wheel_zoom,reset,tap",
        toolbar_location=None,
        min_border=0,
        outline_line_color="#d8dee4",
        background_fill_color=words.COLOURS[TileMark.OUTSIDE],
    )
    drawn.axis.visible = False
    for grid in drawn.grid:
        grid.update(
            grid_line_color="white", grid_line_width=1, level="overlay", ticker=SingleIntervalTicker(interval=1)
        )
    mapper = LinearColorMapper(palette=palette, low=-0.5, high=len(palette) - 0.5)
    drawn.image(image="image", x=0, y="y", dw="dw", dh="dh", source=image, color_mapper=mapper)  # type: ignore[call-arg]  # its stub lacks it
    drawn.rect(
        x="x", y="y", width="size", height="size", source=mark, fill_color=None, line_color="#24292f", line_width=2
    )
    return drawn
