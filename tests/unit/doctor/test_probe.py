"""Which few pixels are asked for, and what a refusal is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shdask.doctor.offer import Offer
from shdask.doctor.probe import PERMISSION, Probe, explain, make_probes
from shdask.errors import RequestRejected
from shdask.inputs import read_area
from shdask.plan.group import GroupPlan
from shdask.plan.placing import make_groups
from shdask.plan.spec import CubeSpec
from shdask.settings import Deployment

S2 = {"collection": "sentinel-2-l2a", "bands": ["B02", "SCL"], "resampling": "bilinear"}


@pytest.fixture
def groups_of() -> Callable[..., dict[str, GroupPlan]]:
    """The groups of a job over 100 km x 100 km of 10 m pixels."""

    def groups(**fields: Any) -> dict[str, GroupPlan]:
        job: dict[str, Any] = {
            "aoi": (500_000, 5_000_000, 600_000, 5_100_000),
            "aoi_crs": "EPSG:32633",
            "crs": "EPSG:32633",
            "resolution": 10,
            "time": ("2024-06-01", "2024-06-30"),
            "layers": {"s2": S2},
        }
        spec = CubeSpec(**{**job, **fields})
        deployment = Deployment(name="custom", base_url="https://a", token_url="https://a/t")
        return make_groups(spec, area=read_area(spec.aoi, crs=spec.aoi_crs), like=None, deployment=deployment)

    return groups


@pytest.fixture
def probe(groups_of) -> Probe:
    """Of B02."""
    return make_probes(groups_of().values())[0]


def test_each_part_of_a_layer_is_asked_for_alone(groups_of) -> None:
    """Bands that are resampled and classes that are not, at the least price: 0.01 of an area for one band of three."""
    probes = make_probes(groups_of().values())
    assert [probe.bands for probe in probes] == ["B02 in DN", "SCL in DN"]
    assert [probe.pu for probe in probes] == pytest.approx([0.005, 0.005])


def test_a_few_pixels_in_the_middle_are_asked_for(probe: Probe) -> None:
    """Near the middle of a square of 10,000 px, and inside one tile."""
    window = probe.tile.extent
    assert (window.shape, probe.tile.windows) == ((50, 50), (window,))
    assert 2048 < window.y0 < 8192
    assert 0 <= window.x0 < 10_000 - 50


def test_small_areas_are_asked_for_whole(groups_of) -> None:
    """Three pixels by two."""
    (probe, _) = make_probes(groups_of(aoi=(500_000, 5_000_000, 500_020, 5_000_030)).values())
    assert probe.tile.extent.shape == (3, 2)


def test_first_parts_go_first_and_layers_once(groups_of) -> None:
    """Every layer is heard before a second part is; a layer of several zones is asked for in one of them."""
    radar = {"collection": "sentinel-1-grd", "bands": ["VV"]}
    groups = groups_of(
        crs="utm-zones", aoi=(17.5, 45.0, 18.5, 45.5), aoi_crs="EPSG:4326", layers={"s2": S2, "s1": radar}
    )
    assert len(groups) == 4
    probes = make_probes(groups.values())
    assert [(probe.layer.name, probe.number) for probe in probes] == [("s2", 0), ("s1", 0), ("s2", 1)]
    assert {probe.group.grid.crs for probe in probes} == {next(iter(groups.values())).grid.crs}


# the service's messages, as they were observed
TOO_COARSE = (
    "400 COMMON_EXCEPTION Your request of 26090.88 meters per pixel exceeds the limit 1500.00 meters per pixel of the "
    "collection S2L2A. Please revise the resolution (or corresponding width/height)"
)
NO_VH = (
    "400 RENDERER_S1_MISSING_POLARIZATION Requested band 'VH' is not present in Sentinel 1 tile 'x' returned by "
    "criteria specified in `dataFilter` parameter."
)


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("400 RENDERER_EXCEPTION CUSTOM has no band SMA", "bands"),
        (NO_VH, "bands"),
        ("400 RENDERER_EXCEPTION S2L2A band B02 has no unit METERS", "units"),
        (TOO_COARSE, "resolution"),
        ("400 COMMON_BAD_PAYLOAD Output dataMask requested but missing from function setup()", "evalscript"),
        ("400 COMMON_BAD_PAYLOAD Collection x is not known", "collections"),
        ("400 COMMON_BAD_PAYLOAD something", "request"),
    ],
)
def test_the_services_words_tell_what_is_wrong(probe: Probe, message: str, check: str) -> None:
    """Its message is kept whole."""
    found = explain(RequestRejected(message, 400, None), probe, {})
    assert (found.check, found.found, found.layer, found.exit_code) == (check, message, "s2", 2)


def test_a_refused_band_is_answered_with_those_there_are(probe: Probe) -> None:
    """As the catalogue names them."""
    offers = {"sentinel-2-l2a": Offer(bands=("B01", "B02"))}
    found = explain(RequestRejected("400 has no band B99", 400, None), probe, offers)
    assert found.cure == "correct bands of layers.s2; the catalogue names B01, B02"


def test_a_missing_right_is_the_collections(probe: Probe) -> None:
    """Whatever the message says."""
    found = explain(RequestRejected("403 You are not authorized to perform this action.", 403, PERMISSION), probe, {})
    assert (found.check, found.cure[:47]) == ("collections", "see whether the account may use sentinel-2-l2a:")
