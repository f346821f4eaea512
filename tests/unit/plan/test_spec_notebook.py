"""A spec in a notebook."""

from __future__ import annotations

import re
from typing import Any

import shapely

import shdask
from shdask.plan.spec_notebook import draw_outline


def spec(**fields: Any) -> shdask.CubeSpec:
    layers = {"s2": {"collection": "sentinel-2-l2a", "bands": ["B04", "B08"], "cadence": "month"}}
    return shdask.CubeSpec(
        **{
            "aoi": (14, 46, 15, 47),
            "crs": "utm",
            "resolution": 20,
            "time": ("2024-06-01", "2024-06-30"),
            "layers": layers,
        }
        | fields
    )


def test_it_says_what_was_asked_for():
    """Only that: what is left at its default is not repeated."""
    html = spec()._repr_html_()
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", html)
    assert dict(zip(cells[::2], cells[1::2], strict=True)) == {
        "crs": "utm",
        "resolution": "20",
        "time": "2024-06-01, 2024-06-30",
        "s2: collection": "sentinel-2-l2a",
        "s2: bands": "B04, B08",
        "s2: cadence": "month",
    }


def test_it_draws_the_area():
    """A square of degrees is narrower than high, by the cosine of its latitude."""
    width, height = re.search(r'<svg [^>]*width="(\d+)" height="(\d+)"', spec()._repr_html_()).groups()
    assert (int(width), int(height)) == (289, 420)


def test_holes_are_left_open():
    """Each ring is a closed path, filled by the even-odd rule."""
    ring = shapely.Polygon(shapely.box(0, 0, 10, 10).exterior, [shapely.box(4, 4, 6, 6).exterior])
    drawn = draw_outline(ring, is_degrees=False)
    assert (drawn.count("M"), drawn.count("Z"), 'fill-rule="evenodd"' in drawn) == (2, 2, True)


def test_a_large_outline_is_drawn_coarser():
    """What is finer than half a unit of the screen is left out."""
    assert len(draw_outline(shapely.Point(0, 0).buffer(1000, quad_segs=50000), is_degrees=False)) < 5000


def test_an_area_that_cannot_be_read_is_said():
    """The rest is shown."""
    html = spec(aoi="<nowhere>.geojson")._repr_html_()
    assert "no map: " in html
    assert "<nowhere>" not in html


def test_names_are_no_html():
    """Nor are a script's words."""
    layer = {"collection": "sentinel-2-l2a", "bands": ["B04"], "max_cloud_cover": 0.5}
    assert "<b>" not in spec(layers={"s2": layer}, aoi_where="a < 1 <b>")._repr_html_().replace("<b>CubeSpec</b>", "")


def test_where_jobs_deliver_to_is_not_shown():
    """A notebook is passed around."""
    assert "bucket-of-mine" not in spec(delivery={"s3_url": "s3://bucket-of-mine/prefix"})._repr_html_()
