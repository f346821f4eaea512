"""The commands for those who look: preview, overviews, export.

Refuses to do their work; reads words, calls, and prints what comes back.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from shdask.cli.app import JsonOption, StoreArgument, app, console

LayerOption = Annotated[str | None, typer.Option(help="The layer, where the cube has several.")]
ZoneOption = Annotated[str | None, typer.Option(help="The UTM zone's EPSG code, where the cube has several.")]


@app.command()
def preview(
    store: StoreArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.png", dir_okay=False, show_default=False)],
    layer: LayerOption = None,
    zone: ZoneOption = None,
    time: Annotated[
        str | None, typer.Option(metavar="DAY", help="Of this day.", show_default="the clearest date")
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C|LOOK", help="One or three bands, or true-colour, false-colour, radar, terrain, hillshade."
        ),
    ] = None,
    size: Annotated[int, typer.Option(metavar="PX", min=16, help="Longer side of the picture.")] = 1200,
    as_json: JsonOption = False,
) -> None:
    """Draw a cube as a picture with its date and a scale bar; overviews are read where there are some."""
    from shdask.serve.preview import check_name
    from shdask.serve.preview import preview as draw

    check_name(out)
    with _warnings_told():
        picture = draw(store, layer=layer, zone=zone, time=time, bands=_names(bands), size_px=size)
    picture.save(out)
    told = picture.as_dict()
    at = f", {picture.time} UTC" if picture.time else ""
    print(json.dumps({"path": str(out), **told}) if as_json else f"{out}: {picture.layer}, {picture.look}{at}")


@app.command()
def overviews(
    store: StoreArgument,
    layer: LayerOption = None,
    zone: ZoneOption = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Bands whose numbers are codes, besides those that are known.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make coarser levels in the cube for those who look, or bring them up to date after a build."""
    from shdask.serve.overviews import add_overviews

    made = add_overviews(store, layer=layer, zone=zone, classes=classes.split(",") if classes else ())
    if as_json:
        print(json.dumps({"store": store, "groups": {one.group: one.as_dict() for one in made}}))
    else:
        print("\n".join(map(str, made)))


@app.command()
def export(
    store: StoreArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.tif", dir_okay=False, show_default=False)],
    layer: LayerOption = None,
    zone: ZoneOption = None,
    bands: Annotated[str | None, typer.Option(metavar="A,B,C", help="These bands.", show_default="all")] = None,
    time: Annotated[
        tuple[str, str] | None,
        typer.Option("--time", metavar="A B", help="Days, both included; a file for each date.", show_default="all"),
    ] = None,
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="LEFT BOTTOM RIGHT TOP", help="In the cube's CRS.", show_default="all of it"),
    ] = None,
    nodata: Annotated[
        float | None,
        typer.Option(help="This number where there is no data.", show_default="a mask band; NaN of floats"),
    ] = None,
    compress: Annotated[str, typer.Option(help="GDAL's word for how blocks are compressed.")] = "DEFLATE",
    stac: Annotated[
        Path | None, typer.Option(metavar="ITEM.json", dir_okay=False, help="Write a STAC item of cube and files.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a cube as Cloud Optimized GeoTIFFs, one for each date, for programs that do not read Zarr."""
    from shdask.serve.cog import export_cog

    with _warnings_told():
        files = export_cog(
            store,
            out,
            layer=layer,
            zone=zone,
            bands=None if bands is None else tuple(bands.split(",")),
            time=time,
            bbox=bbox,
            nodata=nodata,
            compress=compress,
        )
        if stac is not None:
            from shdask.serve.stac import write_item

            write_item(store, stac, layer=layer, zone=zone, files=files)
            console().print(f"{stac}: a STAC item", highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps({"store": store, "files": [file.as_dict() for file in files]}))
    else:
        print("\n".join(f"{file.path}: {', '.join(file.bands)}, {file.nbytes / 1e6:.1f} MB" for file in files))


def _names(words: str | None) -> str | tuple[str, ...] | None:
    return tuple(words.split(",")) if words is not None and "," in words else words


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Let what a cube warns of be a line on stderr."""
    from shdask.serve.open import IncompleteCubeWarning

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", IncompleteCubeWarning)
        yield
    told = [warning for warning in heard if issubclass(warning.category, IncompleteCubeWarning)]
    for message in dict.fromkeys(str(warning.message) for warning in told):
        console().print(f"note: {message}", markup=False, highlight=False, soft_wrap=True)
    for warning in heard:
        if warning not in told:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
