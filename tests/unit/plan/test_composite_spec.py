"""What a job says of a composite, and what requests make of it."""

from __future__ import annotations

from typing import Any

import pytest

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.all_dates import days_of
from shdask.plan.layer import LayerPlan, make_layer
from shdask.plan.layer_spec import Layer
from shdask.plan.learning import kind_of
from shdask.settings import Deployment
from tests.unit.plan.scenes import span

JUNE: TimeInterval = span("2024-06-01", "2024-07-01")
HERE = Deployment(name="test", base_url="http://127.0.0.1:1", token_url="http://127.0.0.1:1/token")


def layer(**fields: Any) -> Layer:
    own = {"collection": "sentinel-2-l2a", "bands": ["B02", "B04"], "cadence": "month", "composite": "median"}
    return Layer(**{**own, **fields})


def planned(**fields: Any) -> LayerPlan:
    return make_layer("s2", layer(**fields), JUNE)


def test_a_word_is_the_method() -> None:
    """The short form of the table."""
    assert layer() == layer(composite={"method": "median", "mask": "auto"})


def test_what_is_stored_is_the_bands_and_the_count_of_clear_dates() -> None:
    """And the day of origin where it is asked for."""
    stored = [(band.name, band.dtype) for band in planned(composite={"method": "medoid", "origin": True}).bands]
    assert stored == [("B02", "uint16"), ("B04", "uint16"), ("clear_count", "uint16"), ("origin_day", "uint16")]


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({}, 3),
        ({"composite": {"method": "median", "mask": "none"}}, 2),
        ({"composite": "max-ndvi"}, 4),
        ({"collection": "landsat-ot-l2", "bands": ["B03"], "composite": "max-ndvi"}, 4),
    ],
)
def test_all_that_is_read_is_paid_for(fields: dict[str, Any], read: int) -> None:
    """Codes and the bands of NDVI, each once: of 512 x 512 px and 3 bands a date is a unit."""
    plan = planned(**fields)
    assert plan.parts[0].read_count == read
    assert plan.part_price(plan.parts[0], (512, 512), samples=6.0) == pytest.approx(6 * read / 3)


def test_the_price_of_a_composite_without_known_dates_is_a_guess() -> None:
    """A pass in two and a half days."""
    plan = planned()
    assert plan.price((512, 512)) == pytest.approx(12 * 3 / 3)


def test_the_script_is_the_composites() -> None:
    """And it returns one date."""
    plan = planned()
    assert 'mosaicking: "ORBIT"' in plan.evalscript(plan.parts[0], [])
    assert "[4, 5, 6, 7, 11].indexOf(sample.SCL)" in plan.evalscript(plan.parts[0], [])
    assert not plan.can_share_requests
    with pytest.raises(PlanError, match="a composite returns one date, not 2"):
        plan.evalscript(plan.parts[0], [JUNE.start.date()] * 2)


def test_the_identity_names_the_composite_and_no_other_layers_changes() -> None:
    """A cube of medians is not continued with medoids; one of single dates is what it was before there were any."""
    (median,), (plain,) = planned().identity()["parts"], planned(composite=None).identity()["parts"]
    assert median["composite"]["method"] == "median"
    assert planned(composite="medoid").identity() != planned().identity()
    assert set(plain) == {"bands", "sample_type", "resampling"}


def test_a_mask_may_be_a_band_of_ones_own() -> None:
    """By codes or bits; it is read and paid for, and it is named where the composite is made here."""
    mine = layer(
        collection="byoc-1", bands=["red"], composite={"method": "median", "mask": {"band": "qa", "bad_bits": 6}}
    )
    plan = make_layer("mine", mine, JUNE)
    assert "(sample.qa & 6) === 0" in plan.evalscript(plan.parts[0], [])
    assert plan.parts[0].read_count == 2
    assert days_of(mine).bands == ("red", "qa")


@pytest.mark.parametrize(
    ("collection", "band", "units"),
    [
        ("sentinel-2-l2a", "CLD", '["DN", "PERCENT", "DN"]'),
        ("landsat-ot-l2", "ST_QA", '["REFLECTANCE", "KELVIN", "DN"]'),
        ("sentinel-2-l2a", "SCL", '["DN", "DN", "DN"]'),
    ],
)
def test_a_mask_is_asked_for_in_its_own_unit(collection: str, band: str, units: str) -> None:
    """Bands of one unit may have no DN; stores of masks that have it are told nothing new."""
    mask = {"band": band, "clear": [0, 1]}
    plan = planned(collection=collection, bands=["B04"], composite={"method": "median", "mask": mask})
    assert f"units: {units}" in plan.evalscript(plan.parts[0], [])
    assert ("clear_unit" in plan.identity()["parts"][0]["composite"]) == (band != "SCL")


def test_ndvi_of_bands_in_different_steps_is_told_both() -> None:
    """One is the source's integers, the other encoded; of bands alike nothing is added to what stores know."""
    coarse = planned(units="REFLECTANCE", encode={"B04": {"dtype": "uint16", "scale": 0.001}}, composite="max-ndvi")
    assert coarse.parts[0].composite is not None
    assert coarse.parts[0].composite.ndvi_steps == ((0.001, 0.0), (0.0001, 0.0))
    assert "values[1] * 0.001 + (0.0)" in coarse.evalscript(coarse.parts[0], [])
    (plain,) = planned(units="REFLECTANCE", composite="max-ndvi").identity()["parts"]
    assert "ndvi_steps" not in plain["composite"]


def test_runs_of_composites_are_a_kind_of_their_own() -> None:
    """How the service counts their dates says nothing of other prices."""
    assert kind_of(planned(), HERE).endswith("sentinel-2-l2a composite median")
    assert kind_of(planned(composite=None), HERE).endswith("sentinel-2-l2a bands")


def test_a_composite_made_here_needs_all_that_the_services_reads() -> None:
    """Day by day."""
    daily = days_of(layer(composite="max-ndvi"))
    assert (daily.bands, daily.cadence, daily.composite) == (("B02", "B04", "B08", "SCL"), "day", None)
    assert days_of(layer(composite=None)) == layer(composite=None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cadence": "mosaic"}, "composite: is made of the dates of a step, and 'mosaic' has one"),
        ({"cadence": "day"}, "composite: is made of the dates of a step, and 'day' has one"),
        ({"bands": ["B04", "SCL"]}, "composite: SCL holds codes"),
        ({"resampling": "bilinear"}, "composite: reads codes beside bands in one request"),
        ({"clear": {"min": 0.2}}, "composite: leaves out what is not clear pixel by pixel"),
        ({"composite": "mean"}, "composite.method: 'mean' is not one of"),
        ({"composite": {"method": "median", "origin": True}}, "composite: a median is of no one date"),
        ({"composite": {"method": "median", "mask": "clouds"}}, "composite.mask: 'clouds' is not known; write auto"),
        ({"composite": {"method": "median", "mask": {"band": "CLD"}}}, "composite.mask: tell either which codes"),
        ({"composite": {"method": "median", "mask": {"band": "B04", "clear": [0]}}}, "composite: B04 holds codes"),
        ({"composite": {"method": "median", "mask": {"band": "BQA", "bad_bits": 2**31}}},
         "composite.mask: bad_bits = 2147483648 is beyond the 31 bits that .* look at; give at most 2147483647"),
        ({"composite": {"method": "max-ndvi", "mask": {"band": "B08", "clear": [0]}}},
         "composite: B08 is what NDVI is made of, and no mask as well; name another band in mask"),
        ({"composite": {"method": "median", "mask": "BQA"}}, "composite: sentinel-2-l2a has no band 'BQA'"),
        ({"composite": {"method": "median", "ndvi": ["B04", "B08"]}}, "composite: ndvi names the red"),
        ({"collection": "byoc-1", "composite": "max-ndvi"}, "composite: max-ndvi does not know the bands"),
        ({"collection": "byoc-1", "bands": ["clear_count"]}, "composite: 'clear_count' is a name that composites use"),
        ({"collection": "zarr-1"}, "composite: zarr-1 has no days to tell apart"),
    ],
)  # fmt: skip  # a row each
def test_a_composite_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    """With the place and the cure."""
    with pytest.raises(PlanError, match=f"Layer: {message}"):
        layer(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bands": ["B04", "sunZenithAngles"]}, "composite: one request reads all bands, and these come as FLOAT32, "),
        (
            {
                "bands": ["B04"],
                "encode": {"dtype": "uint8", "scale": 40},
                "composite": {"method": "medoid", "origin": True},
            },
            "composite: UINT8 cannot hold the day of origin",
        ),
    ],
)
def test_bands_that_no_single_request_brings_are_refused(fields: dict[str, Any], message: str) -> None:
    """When the layer is planned."""
    with pytest.raises(PlanError, match=message):
        planned(**fields)
