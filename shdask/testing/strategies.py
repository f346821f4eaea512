"""Hypothesis strategies: areas, bounding boxes and Process requests as users write them.

Refuses to draw what the service would not accept.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import shapely
from hypothesis import strategies as st

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
MAX_LATITUDE = 80.0
MAX_CORNERS = 12
MAX_SIDE_PX = 64
DEGREES_PER_PX = 0.0002
"""About 20 m, far below the coarsest resolution that collections have."""
SCRIPT = """//VERSION=3
function setup() {
  return {input: ["B02", "dataMask"], output: {bands: 2, sampleType: "FLOAT32"}};
}
function evaluatePixel(sample) { return [sample.B02, sample.dataMask]; }
"""
EARLIEST, LATEST = datetime(2018, 1, 1), datetime(2024, 12, 1)  # noqa: DTZ001  # Hypothesis wants them naive


@st.composite
def bboxes(draw: st.DrawFn, *, max_side: float = 1.0) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) in degrees, WGS84, with sides of a thousandth of ``max_side`` up to it.

    None crosses the antimeridian or comes near a pole.
    """
    sides = st.floats(max_side / 1000, max_side)
    left = draw(st.floats(-180.0, 180.0 - max_side))
    bottom = draw(st.floats(-MAX_LATITUDE, MAX_LATITUDE - max_side))
    return left, bottom, left + draw(sides), bottom + draw(sides)


@st.composite
def areas(draw: st.DrawFn, *, max_side: float = 1.0) -> shapely.Polygon:
    """A valid polygon in degrees, WGS84, (lon, lat), within a bbox of ``bboxes``: star-shaped, some with a hole."""
    left, bottom, right, top = draw(bboxes(max_side=max_side))
    corners = draw(st.lists(st.floats(0.3, 1.0), min_size=3, max_size=MAX_CORNERS))
    hole = draw(st.booleans())
    centre = ((left + right) / 2, (bottom + top) / 2)
    radii = ((right - left) / 2, (top - bottom) / 2)
    # the sides of a triangle with corners at 0.3 pass the centre at 0.15, and so leave the hole room
    ring = [_point(centre, radii, index / len(corners), reach) for index, reach in enumerate(corners)]
    inner = [_point(centre, radii, index / 4, 0.05) for index in range(4)]
    return shapely.Polygon(ring, [inner] if hole else [])


@st.composite
def process_bodies(draw: st.DrawFn, *, collection: str = "sentinel-2-l2a", script: str = SCRIPT) -> dict[str, Any]:
    """The JSON of a small Process request that the service accepts: up to 64 x 64 pixels, up to a month, TIFF.

    ``script`` must have one input of ``collection``'s bands, and the output ``default``.
    """
    width, height = draw(st.integers(1, MAX_SIDE_PX)), draw(st.integers(1, MAX_SIDE_PX))
    left, bottom = draw(st.floats(-179, 179)), draw(st.floats(-MAX_LATITUDE, MAX_LATITUDE))
    start = draw(st.datetimes(EARLIEST, LATEST)).replace(microsecond=0, tzinfo=UTC)
    end = start + timedelta(days=draw(st.integers(0, 30)))
    data_filter: dict[str, Any] = {
        "timeRange": {"from": f"{start:%Y-%m-%dT%H:%M:%SZ}", "to": f"{end:%Y-%m-%dT%H:%M:%SZ}"},
    }
    if draw(st.booleans()):
        data_filter["mosaickingOrder"] = draw(st.sampled_from(["mostRecent", "leastRecent", "leastCC"]))
    if draw(st.booleans()):
        data_filter["maxCloudCoverage"] = draw(st.integers(0, 100))
    size: dict[str, float] = {"width": width, "height": height}
    if draw(st.booleans()):
        size = {"resx": DEGREES_PER_PX, "resy": DEGREES_PER_PX}
    return {
        "input": {
            "bounds": {
                "bbox": [left, bottom, left + width * DEGREES_PER_PX, bottom + height * DEGREES_PER_PX],
                "properties": {"crs": CRS84},
            },
            "data": [{"type": collection, "dataFilter": data_filter}],
        },
        "evalscript": script,
        "output": {**size, "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
    }


def _point(centre: tuple[float, float], radii: tuple[float, float], turn: float, reach: float) -> tuple[float, float]:
    angle = 2 * math.pi * turn
    return centre[0] + radii[0] * reach * math.cos(angle), centre[1] + radii[1] * reach * math.sin(angle)
