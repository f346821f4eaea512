"""What the service makes of our evalscripts: encoded values, and several dates in one picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shdask.model import TimeInterval
from shdask.request.body import data_json
from shdask.request.collections import find_collection
from shdask.request.evalscript import RequestedBand, make_evalscript
from shdask.request.options import make_options

AREA = (540000.0, 5100000.0, 572000.0, 5124000.0)
"""Two orbits of Sentinel-2 pass here, one of them over a part only."""
SUMMER = [date(2024, 6, day) for day in (1, 2, 3, 6, 8, 9, 11, 30)]
"""Days with all, a part or nothing of the area."""
POWER = {"unit": "LINEAR_POWER", "scale": 0.01, "offset": -50.0, "db": True}
LAYERS: dict[str, tuple[str, str, list[RequestedBand], float | None]] = {
    "numbers": (
        "sentinel-2-l2a",
        "UINT16",
        [RequestedBand(name="B04", unit="DN"), RequestedBand(name="SCL", unit="DN")],
        None,
    ),
    "clear": ("sentinel-2-l2a", "UINT16", [RequestedBand(name="B04", unit="DN")], 0.3),
    "bytes": ("sentinel-2-l2a", "UINT8", [RequestedBand(name="B08", unit="REFLECTANCE", scale=0.001)], None),
    "floats": ("sentinel-2-l1c", "FLOAT32", [RequestedBand(name="B02", unit="REFLECTANCE")], None),
    "decibels": (
        "sentinel-1-grd",
        "INT16",
        [RequestedBand(name="VV", **POWER), RequestedBand(name="VH", **POWER)],
        None,
    ),
    "landsat": (
        "landsat-ot-l2",
        "UINT16",
        [RequestedBand(name="B04", unit="REFLECTANCE", scale=2.75e-5, offset=-0.2)],
        None,
    ),
}
"""Name -> collection, sample type, bands, and the largest cloud cover."""


def _span(first: date, last: date) -> TimeInterval:
    start, end = (datetime.combine(day, time(), tzinfo=UTC) for day in (first, last + timedelta(days=1)))
    return TimeInterval(start=start, end=end)


def _entry(layer: str, first: date, last: date) -> dict[str, Any]:
    name, _, bands, clouds = LAYERS[layer]
    options = make_options(find_collection(name), bands=[band.name for band in bands])
    return data_json(
        name,
        interval=_span(first, last),
        max_cloud_cover=clouds,
        upsampling="bilinear",
        data_filter=options.data_filter,
        processing=options.processing,
    )


def _buy_dates(buy: Callable[..., Any], layer: str, days: Sequence[date]) -> Any:
    _, sample_type, bands, _ = LAYERS[layer]
    script = make_evalscript(bands, sample_type, dates=days)
    return buy(_entry(layer, min(days), max(days)), script, bbox=AREA)


def _buy_one(buy: Callable[..., Any], layer: str, day: date) -> Any:
    _, sample_type, bands, _ = LAYERS[layer]
    return buy(_entry(layer, day, day), make_evalscript(bands, sample_type), bbox=AREA)


def _buy_floats(buy: Callable[..., Any], layer: str, day: date) -> NDArray[np.float64]:
    """The same pixels as the source has them, (band, y, x), without the mask."""
    bands = [RequestedBand(name=band.name, unit=band.unit) for band in LAYERS[layer][2]]
    picture = buy(_entry(layer, day, day), make_evalscript(bands, "FLOAT32"), bbox=AREA).picture
    return np.asarray(picture[:-1], np.float64)


@pytest.mark.parametrize("layer", LAYERS)
def test_several_dates_are_bit_equal_to_one_request_each(buy: Callable[..., Any], layer: str) -> None:
    """Bands and masks, over edges of orbits, clouds and days without any pass."""
    together = _buy_dates(buy, layer, SUMMER).picture
    apart = np.concatenate([_buy_one(buy, layer, day).picture for day in SUMMER])
    assert together.dtype == apart.dtype
    np.testing.assert_array_equal(together, apart)


def test_the_days_of_the_proof_are_whole_cut_and_empty(buy: Callable[..., Any]) -> None:
    """Else equality would prove little."""
    picture = _buy_dates(buy, "numbers", SUMMER).picture
    shares = picture[2::3].mean(axis=(1, 2))
    assert [round(share, 1) for share in shares.tolist()] == [0.4, 0.0, 1.0, 0.4, 1.0, 0.0, 0.4, 0.0]


@pytest.mark.parametrize("layer", ["numbers", "floats", "decibels"])
def test_several_dates_cost_what_each_alone_costs(buy: Callable[..., Any], layer: str) -> None:
    """And days without a pass nothing, for which a request of its own would be charged in full."""
    together = _buy_dates(buy, layer, SUMMER)
    masks = together.picture.reshape(len(SUMMER), -1, *together.picture.shape[1:])[:, -1]
    seen = [day for day, mask in zip(SUMMER, masks, strict=True) if mask.any()]
    assert together.pu == pytest.approx(sum(_buy_one(buy, layer, day).pu for day in seen), rel=1e-6)


def test_days_that_are_not_named_cost_nothing(buy: Callable[..., Any]) -> None:
    """The whole month lies between the two that are."""
    two = [date(2024, 6, 1), date(2024, 6, 28)]
    assert _buy_dates(buy, "numbers", two).pu == pytest.approx(2 * 64 * 48 / 512**2 * 2 / 3, rel=1e-6)


def test_dates_come_in_the_order_they_are_named(buy: Callable[..., Any]) -> None:
    """Not in the service's own, which is nobody's promise."""
    forwards = _buy_dates(buy, "numbers", SUMMER).picture
    backwards = _buy_dates(buy, "numbers", SUMMER[::-1]).picture
    by_date = backwards.reshape(len(SUMMER), 3, 48, 64)[::-1].reshape(forwards.shape)
    np.testing.assert_array_equal(forwards, by_date)


def test_decibels_are_made_on_the_service(buy: Callable[..., Any]) -> None:
    """As numpy makes them of the floats: rounded half up, to a hundredth of a decibel."""
    day = date(2024, 6, 3)
    sent = _buy_one(buy, "decibels", day).picture
    expected = np.floor((10 * np.log10(_buy_floats(buy, "decibels", day)) + 50) / 0.01 + 0.5)
    assert sent[-1].all()
    # the floats were cut to 32 bit on the way
    assert np.abs(sent[:-1] - expected).max() <= 1
    assert (sent[:-1] == expected).mean() > 0.99


def test_what_does_not_fit_is_clamped(buy: Callable[..., Any]) -> None:
    """A bright pixel is the brightest that a byte can hold, and no dark one."""
    day = date(2024, 6, 3)
    sent = _buy_one(buy, "bytes", day).picture[0]
    reflectance = _buy_floats(buy, "bytes", day)[0]
    bright = reflectance > 255.5 * 0.001
    assert bright.any()
    assert (sent[bright] == 255).all()


def test_encoded_values_lead_back_to_the_source(buy: Callable[..., Any]) -> None:
    """To half a step: Landsat's reflectance in its own steps."""
    day = date(2024, 6, 8)
    sent = _buy_one(buy, "landsat", day).picture
    floats = _buy_floats(buy, "landsat", day)
    inside = sent[-1] > 0
    assert inside.any()
    np.testing.assert_allclose((sent[0] * 2.75e-5 - 0.2)[inside], floats[0][inside], atol=1.4e-5)


def test_where_nothing_was_seen_all_is_zero(buy: Callable[..., Any]) -> None:
    """Landsat has NaN there, which no integer holds and an offset would turn into a value."""
    _, sample_type, bands, _ = LAYERS["landsat"]
    entry = _entry("landsat", date(2024, 6, 8), date(2024, 6, 8))
    wide = (400000.0, 5000000.0, 720000.0, 5240000.0)
    picture = buy(entry, make_evalscript(bands, sample_type), bbox=wide, size=(320, 240)).picture
    assert 0.1 < picture[-1].mean() < 0.9
    assert not picture[:, picture[-1] == 0].any()
