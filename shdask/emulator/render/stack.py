"""The samples of each input: scenes flattened to one, by day, or each for itself, and what scripts are told of them.

Refuses to know pixels and JavaScript.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Any

import numpy as np
import shapely
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from shdask.emulator.evalscript.setup import ScriptInput, ScriptSetup
from shdask.emulator.globe import to_degrees
from shdask.emulator.process.job import DataInput, RenderJob, pair_inputs
from shdask.emulator.projection import find_transformer
from shdask.emulator.refusal import not_emulated
from shdask.emulator.render.mosaic import order_scenes
from shdask.emulator.source import CataloguedSource, Scene, Source
from shdask.emulator.times import write_time

SCENES = {"SIMPLE": None, "ORBIT": "orbits", "TILE": "tiles"}
"""Mosaicking -> the member of ``scenes`` that describes the samples."""
DENSE_DEGREES = 0.1
"""Edges of footprints are cut this fine before they are projected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """All samples of one input of setup(), the same for every pixel of the request.

    A sample without data at a pixel is there with zeros and dataMask 0.
    """

    data: DataInput
    item: ScriptInput
    key: str | None
    """Its name in the script; None where it is the only input."""
    samples: tuple[tuple[Scene, ...], ...]
    """Each the scenes it is a mosaic of, best first."""
    footprints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Scene id -> dataGeometry and dataEnvelope, where the script asks for them."""

    @property
    def count(self) -> int | None:
        """Samples in a pixel's array; None where a pixel is one sample without an array. Pure."""
        return None if self.key is None and self.item.mosaicking == "SIMPLE" else len(self.samples)

    def keep(self, indices: Sequence[int]) -> Stack:
        """Only these samples, in this order. Pure."""
        return replace(self, samples=tuple(self.samples[index] for index in indices))

    def describe(self) -> dict[str, Any]:
        """What the script's functions for scenes are told, as JSON values. Pure."""
        kind = SCENES[self.item.mosaicking]
        return {
            "key": self.key,
            "kind": kind,
            "from": write_time(self.data.start),
            "to": write_time(self.data.end),
            "dates": [write_time(sample[0].time) if sample else None for sample in self.samples],
            "scenes": self._describe_samples() if kind else [],
        }

    def scenes(self) -> dict[str, Any]:
        """The ``scenes`` that evaluatePixel() gets of this input. Pure."""
        kind = SCENES[self.item.mosaicking]
        return {kind: self._describe_samples()} if kind else {}

    def _describe_samples(self) -> list[dict[str, Any]]:
        described = []
        for index, sample in enumerate(self.samples):
            tiles = [
                {**_describe_tile(scene, self.data.collection), **self.footprints.get(scene.id, {})} for scene in sample
            ]
            if self.item.mosaicking == "TILE":
                described.append({**tiles[0], "__idx": index})
                continue
            day = sample[0].time.astimezone(UTC).date()
            described.append(
                {"dateFrom": f"{day}T00:00:00Z", "dateTo": f"{day}T23:59:59Z", "tiles": tiles, "__idx": index}
            )
        return described


def make_stacks(job: RenderJob, setup: ScriptSetup, sources: Mapping[str, Source]) -> list[Stack]:
    """A stack per input of setup(), in its order; raises Refusal (400) where request and script do not match."""
    several = len(setup.inputs) > 1
    stacks = []
    for number, (data, item) in enumerate(pair_inputs(job, setup)):
        source = sources[data.collection]
        found = source.scenes(job.lattice, data.start, data.end)
        if SCENES[item.mosaicking] and isinstance(source, CataloguedSource):
            found = _keep_meeting(found, source, job)
        admitted = [scene for scene in found if data.choices.admit(scene.traits)]
        scenes = order_scenes(admitted, data.mosaicking_order, data.max_cloud_cover)
        key = (item.datasource or str(number)) if several else None
        samples = _group(scenes, item.mosaicking)
        if key is None and not samples and item.mosaicking == "SIMPLE":
            samples = ((),)
        footprints = _find_footprints(scenes, source, job.lattice.crs) if item.bounds else {}
        stacks.append(Stack(data=data, item=item, key=key, samples=samples, footprints=footprints))
    return stacks


def describe_scenes(stacks: Sequence[Stack]) -> dict[str, Any]:
    """The argument ``scenes`` of evaluatePixel(), as JSON values. Pure.

    Of several inputs each has its own under its key, as preProcessScenes() has them; that shape is not documented.
    """
    if stacks[0].key is None:
        return stacks[0].scenes()
    return {str(stack.key): {"scenes": stack.scenes()} for stack in stacks}


def _find_footprints(scenes: Sequence[Scene], source: Source, crs: str) -> dict[str, dict[str, Any]]:
    if not isinstance(source, CataloguedSource):
        raise not_emulated(f"the bounds of scenes of {source.name}")
    project = find_transformer("EPSG:4326", crs).transform
    found = {}
    for scene in scenes:
        outline = shapely.segmentize(source.footprint(scene), DENSE_DEGREES)
        geometry = shapely.transform(outline, lambda points: np.stack(project(*points.T), axis=1))
        found[scene.id] = {
            "dataGeometry": _to_geojson(geometry, crs),
            "dataEnvelope": _to_geojson(geometry.envelope, crs),
        }
    return found


def _to_geojson(geometry: BaseGeometry, crs: str) -> dict[str, Any]:
    # as in the items of the Catalog; the object is documented as "GeoJSON like" alone
    name = f"urn:ogc:def:crs:{crs.replace(':', '::')}"
    return {"type": geometry.geom_type, "crs": {"type": "name", "properties": {"name": name}}, **_coordinates(geometry)}


def _coordinates(geometry: BaseGeometry) -> dict[str, Any]:
    coordinates: dict[str, Any] = json.loads(shapely.to_geojson(geometry))
    return {"coordinates": coordinates["coordinates"]}


def _keep_meeting(scenes: Sequence[Scene], source: CataloguedSource, job: RenderJob) -> list[Scene]:
    # samples are the scenes that the Catalog finds for the same area
    area = box(*job.lattice.bounds()) if job.geometry_wkb is None else shapely.from_wkb(job.geometry_wkb)
    asked = to_degrees(area, job.lattice.crs)
    return [scene for scene in scenes if asked.intersects(source.footprint(scene))]


def _group(scenes: Sequence[Scene], mosaicking: str) -> tuple[tuple[Scene, ...], ...]:
    if mosaicking == "TILE":
        return tuple((scene,) for scene in scenes)
    if mosaicking == "SIMPLE":
        return (tuple(scenes),) if scenes else ()
    # one sample a day, as the documentation admits
    days: dict[str, list[Scene]] = {}
    for scene in scenes:
        days.setdefault(scene.time.astimezone(UTC).date().isoformat(), []).append(scene)
    return tuple(map(tuple, days.values()))


def _describe_tile(scene: Scene, collection: str) -> dict[str, Any]:
    return {
        "date": write_time(scene.time),
        "cloudCoverage": scene.cloud_cover,
        "dataPath": f"emulator://{collection}/{scene.id}",
        "shId": zlib.crc32(scene.id.encode()),
    }
