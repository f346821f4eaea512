"""Asks the service for a few pixels of each part of each layer: what cannot be known here, it says.

Refuses to know accounts and catalogues, and how requests are sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from shdask.doctor.findings import Finding
from shdask.doctor.offer import Offer
from shdask.errors import BudgetExceeded, RequestRejected, ShdaskError
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.process import fetch_tiles
from shdask.model import Tile, TimeInterval, Window
from shdask.plan.group import GroupPlan
from shdask.plan.layer import LayerPlan
from shdask.plan.part import Part
from shdask.request.collections import find_collection

MAX_PU = 0.099
"""All that looking may cost."""
SIDE_PX = 50
"""Up to 51 x 51 px cost as much as one: the least area that is counted."""
SCRIPT_DAYS = 1
"""Of a script that reads every scene of its time: it pays for each."""
SCRIPT_SAMPLES = 4
"""Scenes that are reckoned with in that time: far north, and where orbits overlap, there are several a day."""
PERMISSION = "COMMON_INSUFFICIENT_PERMISSIONS"
_REFUSALS = (
    ("meters per pixel", "resolution"),
    ("no band", "bands"),
    ("polariz", "bands"),
    ("unit", "units"),
    ("crs", "crs"),
    ("timerange", "time range"),
    ("script", "evalscript"),
    ("setup()", "evalscript"),
    ("collection", "collections"),
)
"""Words of the service, and what they complain about; the first that is met counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One small request."""

    group: GroupPlan
    """With a layer of one part."""
    tile: Tile
    number: int
    """Which of its layer's parts is asked for."""

    @property
    def layer(self) -> LayerPlan:
        """The layer, of one part."""
        return self.group.layer

    @property
    def part(self) -> Part:
        """What is asked for."""
        return self.layer.parts[0]

    @property
    def pu(self) -> float:
        """Its projected price."""
        return self.layer.part_price(self.part, self.tile.extent.shape)

    @property
    def bands(self) -> str:
        """The bands that it brings, with the unit that they are asked in."""
        if self.part.script is not None:
            return f"{', '.join(self.layer.bands[position].name for position in self.part.bands)} by a script"
        return ", ".join(f"{band.name} in {band.unit}" for band in self.part.requested)


def make_probes(groups: Iterable[GroupPlan]) -> tuple[Probe, ...]:
    """A request for each part of each layer, the first parts first. Pure.

    A layer that stands in several groups is asked for in the first.
    """
    layers = {group.layer.name: group for group in reversed(list(groups))}
    first_to_last = dict(reversed(layers.items()))
    found = [probe for group in first_to_last.values() for probe in _probes_of(group)]
    return tuple(sorted(found, key=lambda probe: probe.number))


def ask_layers(
    probes: Iterable[Probe], client: ServiceClient, offers: Mapping[str, Offer], spent: Spent
) -> Iterator[Finding]:
    """What the service says to each, as it comes; ends at the first answer that holds for all others too.

    What does not fit into the client's budget is not asked for. What is spent is added to ``spent``.
    """
    for probe in probes:
        name = probe.layer.name
        try:
            data = fetch_tiles(probe.group, [probe.tile], client, spent=spent)[0]
        except BudgetExceeded:
            yield Finding(
                check="bands",
                outcome="note",
                found=f"{probe.bands}: not asked for, it would cost {probe.pu:.3f} PU",
                cure="the build asks, and stops at its first answer if it is refused",
                layer=name,
            )
        except RequestRejected as error:
            yield explain(error, probe, offers)
        except ShdaskError as error:
            check = {3: "login", 4: "quota"}.get(error.exit_code, "request")
            yield Finding.of_error(check, error, layer=name)
            return
        else:
            yield Finding(check="bands", outcome="ok", found=f"{probe.bands}: answered", layer=name)
            if probe.number == 0:
                yield _look_at(int(data.data_mask.sum()), probe)


def explain(error: RequestRejected, probe: Probe, offers: Mapping[str, Offer]) -> Finding:
    """What a refusal is about, and what to change in the job. Pure."""
    layer, message = probe.layer, str(error).lower()
    check = next((check for words, check in _REFUSALS if words in message), "request")
    if error.code == PERMISSION:
        check = "collections"
    place, collection = f"layers.{layer.name}", layer.collection
    offer = offers.get(find_collection(collection).catalog_id or collection, Offer())
    known = f"; the catalogue names {', '.join(offer.bands)}" if offer.bands else ""
    cures = {
        "bands": f"correct {'bands or polarization' if 'polariz' in message else 'bands'} of {place}{known}",
        "units": f"correct units of {place}",
        "resolution": "make cube.resolution finer",
        "crs": "take another cube.crs",
        "time range": f"correct time of cube or {place}",
        "evalscript": f"mend the script of {place}",
        "collections": f"see whether the account may use {collection}: some need its terms to be accepted first",
    }
    return Finding.of_error(check, error, found=str(error), cure=cures.get(check, ""), layer=layer.name)


def _look_at(valid_px: int, probe: Probe) -> Finding:
    rows, columns = probe.tile.extent.shape
    found = f"{valid_px} of {rows * columns} px in the middle of the area hold some"
    if valid_px:
        return Finding(check="data", outcome="ok", found=found, layer=probe.layer.name)
    return Finding(
        check="data",
        outcome="warning",
        found=found,
        cure="if that is not as it should be: widen time, or let more clouds through with max_cloud_cover",
        layer=probe.layer.name,
    )


def _probes_of(group: GroupPlan) -> list[Probe]:
    tile, layer = _middle(group), _shorten(group.layer)
    return [
        Probe(group=replace(group, layer=replace(layer, parts=(part,))), tile=tile, number=number)
        for number, part in enumerate(layer.parts)
    ]


def _middle(group: GroupPlan) -> Tile:
    """A few pixels, of the tile in the middle of all."""
    indices = group.tile_set.indices()
    tile = group.tile(int(indices[indices.size // 2]))
    widest = max(tile.windows, key=lambda window: window.pixel_count)
    window = _centre(widest)
    return replace(tile, extent=window, windows=(window,))


def _centre(window: Window) -> Window:
    rows, columns = (min(length, SIDE_PX) for length in window.shape)
    y0 = window.y0 + (window.shape[0] - rows) // 2
    x0 = window.x0 + (window.shape[1] - columns) // 2
    return Window(y0=y0, y1=y0 + rows, x0=x0, x1=x0 + columns)


def _shorten(layer: LayerPlan) -> LayerPlan:
    """The layer with less time where each of its scenes is paid for."""
    if layer.mosaicking == "SIMPLE":
        return layer
    inputs = tuple(
        replace(each, interval=_first_days(each.interval), samples=SCRIPT_SAMPLES if each.has_time else 1)
        for each in layer.inputs
    )
    return replace(layer, interval=_first_days(layer.interval), inputs=inputs)


def _first_days(interval: TimeInterval | None) -> TimeInterval | None:
    if interval is None:
        return None
    return replace(interval, end=min(interval.end, interval.start + timedelta(days=SCRIPT_DAYS)))
