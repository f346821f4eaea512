"""How many pixels a box has at a resolution in metres, and how many a request may have.

Refuses to know where the size is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import shapely
import shapely.geometry

from shdask.errors import PlanError
from shdask.sentinelhub.crs import CRS
from shdask.sentinelhub.geometry import BBox, read_bbox, transform_point


def bbox_to_dimensions(bbox: BBox, resolution: float | tuple[float, float]) -> tuple[int, int]:
    """(width, height) in pixels of ``bbox`` at ``resolution`` metres, one number or (x, y); rounded. Pure.

    Measured between the corners in the UTM zone of the box's middle, whatever the box's own CRS.
    Raises ValueError where UTM ends.
    """
    metres = _in_utm(read_bbox(bbox))
    resx, resy = resolution if isinstance(resolution, (tuple, list)) else (resolution, resolution)
    return round((metres.max_x - metres.min_x) / resx), round((metres.max_y - metres.min_y) / resy)


def check_size(output: Mapping[str, Any], bounds: Mapping[str, Any], *, limit_px: int) -> None:
    """Raise PlanError where a side of the picture is certainly longer than ``limit_px`` pixels. Pure.

    The service divides the bounds by ``resx`` and ``resy`` with a rounding it does not document; a side is refused
    when it is too long however that is rounded.
    """
    for name, edges, side in (("width", "resx", 0), ("height", "resy", 1)):
        if name in output:
            pixels, source = output[name], ""
        elif output.get(edges, 0) > 0:
            pixels, source = int(_extent(bounds, side) / output[edges]), f", from {edges}={output[edges]}"
        else:
            continue
        if pixels > limit_px:
            raise PlanError(
                f"{name} is {pixels} pixels{source}, and the service renders at most {limit_px}; "
                f"split the area, take a coarser resolution, or build a cube"
            )


def _in_utm(bbox: BBox) -> BBox:
    if bbox.crs.is_utm():
        return bbox
    lng, lat = transform_point(bbox.middle, bbox.crs, CRS.WGS84)
    return bbox.transform(CRS.get_utm_from_wgs84(lng, lat))


def _extent(bounds: Mapping[str, Any], side: int) -> float:
    edges = bounds["bbox"] if "bbox" in bounds else shapely.geometry.shape(bounds["geometry"]).bounds
    return float(edges[side + 2] - edges[side])
