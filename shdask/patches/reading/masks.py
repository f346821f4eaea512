"""What a model shall learn of each pixel: classes from a band of the cube, from a raster, or from polygons.

Refuses to know images, and which patches there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.errors import PlanError
from shdask.patches.reading.sample_dict import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.table import Patch

MaskSource = Callable[["Patch"], "NDArray[np.int64]"]
"""Gives (y, x) classes of a patch's pixels, the ignore index where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandMask:
    """Classes from a band of the cube, at the first step of the sample at which a pixel is valid."""

    band: str
    layer: str = ""
    """May be left out where the cube has one."""
    classes: Mapping[int, int] | None = None
    """The band's code -> class; codes that are not named are ignored. None takes codes as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterMask:
    """Classes from the first band of a raster file, such as a GeoTIFF: of each pixel's centre, nearest."""

    path: str | os.PathLike[str]
    classes: Mapping[int, int] | None = None
    """As of `BandMask`."""
    ignore_index: int = IGNORE_INDEX
    """Where the raster has no data, or does not reach."""

    def __call__(self, patch: Patch) -> NDArray[np.int64]:
        """(y, x) classes. Reads the file; raises PlanError where it cannot."""
        import rasterio
        from rasterio.enums import ColorInterp
        from rasterio.errors import RasterioIOError
        from rasterio.vrt import WarpedVRT

        left, bottom, right, top = patch.bounds
        size = patch.size_px
        grid = rasterio.transform.from_bounds(left, bottom, right, top, size, size)
        try:
            with (
                rasterio.open(self.path) as source,
                WarpedVRT(
                    source,
                    crs=f"EPSG:{patch.epsg}",
                    transform=grid,
                    width=size,
                    height=size,
                    add_alpha=ColorInterp.alpha not in source.colorinterp,  # tells nodata, and what lies beyond
                ) as there,
            ):
                codes, known = there.read(1), there.read(there.count) != 0
        except RasterioIOError as error:
            raise PlanError(f"mask: {os.fspath(self.path)} cannot be read ({error}); check the path") from error
        return map_classes(codes, known, self.classes, self.ignore_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonMask:
    """Classes from a column of polygons; where several cover a pixel's centre the last of the file counts."""

    path: str | os.PathLike[str]
    class_column: str
    """Of whole numbers."""
    layer: str | None = None
    """Of the file, where it has several."""
    background: int = IGNORE_INDEX
    """The class of pixels that no polygon covers."""
    _read: dict[int, tuple[Any, NDArray[np.int64]]] = field(default_factory=dict, repr=False, compare=False)
    """EPSG code -> (search tree of polygons, their classes)."""

    def __call__(self, patch: Patch) -> NDArray[np.int64]:
        """(y, x) classes. Reads the file once for each CRS; raises PlanError where it cannot."""
        import shapely
        from rasterio.features import rasterize
        from rasterio.transform import from_bounds

        tree, classes = self._polygons(patch.epsg)
        size = patch.size_px
        hits = np.sort(tree.query(shapely.box(*patch.bounds), predicate="intersects"))
        shapes = [(tree.geometries[hit], int(classes[hit])) for hit in hits.tolist()]
        mask = np.full((size, size), self.background, np.int64)
        if shapes:
            rasterize(shapes, out=mask, transform=from_bounds(*patch.bounds, size, size))
        return mask

    def _polygons(self, epsg: int) -> tuple[Any, NDArray[np.int64]]:
        if epsg not in self._read:
            self._read[epsg] = self._load(epsg)
        return self._read[epsg]

    def _load(self, epsg: int) -> tuple[Any, NDArray[np.int64]]:
        import pyogrio.raw
        import shapely
        from pyogrio.errors import DataSourceError
        from pyproj import Transformer

        name = os.fspath(self.path)
        try:
            told, _, found, fields = pyogrio.raw.read(name, layer=self.layer, columns=[self.class_column])
        except (DataSourceError, ValueError) as error:
            raise PlanError(f"mask: {name} cannot be read ({error}); check the path and the layer") from error
        if not len(fields) or not np.issubdtype(fields[0].dtype, np.integer):
            raise PlanError(f"mask: {name} has no column {self.class_column!r} of whole numbers")
        shift = Transformer.from_crs(told["crs"] or "EPSG:4326", f"EPSG:{epsg}", always_xy=True)
        polygons = shapely.transform(
            shapely.from_wkb(found), lambda points: np.column_stack(shift.transform(points[:, 0], points[:, 1]))
        )
        return shapely.STRtree(polygons), fields[0].astype(np.int64)


def map_classes(
    codes: NDArray[Any], known: NDArray[np.bool_], classes: Mapping[int, int] | None, ignore_index: int
) -> NDArray[np.int64]:
    """``codes`` as classes, ``ignore_index`` where they are not ``known``, or not named in ``classes``. Pure."""
    found = codes.astype(np.int64)
    if classes is not None:
        named = np.full(found.shape, ignore_index, np.int64)
        for code, label in classes.items():
            named[found == code] = label
        found = named
    return np.where(known, found, ignore_index)
