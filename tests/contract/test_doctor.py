"""`shdask doctor`: what it finds, what it costs, and the look before a build."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from shdask.doctor import preflight
from shdask.doctor.examine import examine
from shdask.emulator.launch import EmulatorProcess, start_emulator

RADAR = '[layers.radar]\ncollection = "sentinel-1-grd"\nbands = ["VV", "VH"]\n'
HEIGHTS = '[layers.heights]\ncollection = "dem"\nbands = ["DEM"]\n'
PROCESS = "POST /api/v1/process"
S2_NAMES = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12", "AOT", "SCL", "SNW", "CLD"),
    *("sunAzimuthAngles", "sunZenithAngles", "viewAzimuthMean", "viewZenithMean"),
)


@pytest.fixture
def launched(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., EmulatorProcess]]:
    """Starts an emulator with options and puts it into the environment."""
    with ExitStack() as stack:

        def launch(**options: Any) -> EmulatorProcess:
            service = stack.enter_context(start_emulator(renderers=1, **options))
            for name, value in service.environment().items():
                monkeypatch.setenv(name, value)
            return service

        yield launch


@pytest.fixture
def portal() -> Iterator[str]:
    """The URL of a server that answers everything with a page that wants a login."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html><title>Hotel</title></html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder of one band, B1, over the area of the jobs."""
    folder = tmp_path / "archive"
    folder.mkdir()
    with rasterio.open(
        folder / "B1.tif",
        "w",
        driver="GTiff",
        width=64,
        height=64,
        count=1,
        dtype="uint16",
        crs="EPSG:4326",
        transform=from_origin(13.9, 46.2, 0.005, 0.005),
    ) as image:
        image.write(np.full((64, 64), 7, np.uint16), 1)
    return folder


def outcomes(found: dict[str, Any]) -> dict[str, str]:
    """What became of each check; of several findings of one check, of the last."""
    return {" ".join(filter(None, (each["check"], each["layer"]))): each["outcome"] for each in found["findings"]}


def finding(found: dict[str, Any], check: str) -> dict[str, Any]:
    """The first finding of this check."""
    return next(each for each in found["findings"] if each["check"] == check)


def test_a_good_job_is_told_line_by_line(run, write_job, service: EmulatorProcess) -> None:
    """Each check is ok, and looking costs what the service charged: less than 0.1 PU."""
    code, out, err = run("doctor", write_job(extra=RADAR + HEIGHTS), "--json")
    found = json.loads(out)
    assert code == 0, err
    assert outcomes(found) == {
        **dict.fromkeys(["job", "resolution", "deployment", "clock", "login", "collections", "quota"], "ok"),
        **dict.fromkeys(["time range s2", "bands s2", "data s2", "time range radar", "bands radar"], "ok"),
        **dict.fromkeys(["data radar", "bands heights", "data heights"], "ok"),
    }
    assert found["requests"] == service.stats()["calls"][f"{PROCESS} 200"] == 3
    assert found["pu_spent"] == pytest.approx(service.stats()["pu_charged"], rel=1e-6)
    assert 0 < found["pu_spent"] < 0.1


def test_people_read_lines_with_a_cure(run, write_job, service: EmulatorProcess, monkeypatch) -> None:
    """A failed check stands in a line of its own, what to do below it, and what looking cost at the end."""
    monkeypatch.setenv("SH_CLIENT_SECRET", "wrong")
    code, out, _ = run("doctor")
    assert code == 3
    assert "failed   login      the credentials were refused" in out
    assert "-> check SH_CLIENT_ID and SH_CLIENT_SECRET" in out
    assert out.endswith("looking cost 0.0000 PU in 0 requests\n")
    assert "wrong" not in out


def test_an_account_is_looked_at_without_a_job(run, launched) -> None:
    """Host, clock, login, collections, quota and rates, and nothing is bought."""
    service = launched(plan="cdse-general")
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert (code, found["requests"], found["pu_spent"]) == (0, 0, 0)
    assert list(outcomes(found)) == ["deployment", "clock", "login", "collections", "quota", "rates"]
    assert finding(found, "quota")["found"].startswith("10,000.00 PU and 9,99")
    assert "sentinel-2-l2a" in finding(found, "collections")["found"]
    assert service.stats()["pu_charged"] == 0


def test_no_credentials_are_a_finding(run, service: EmulatorProcess, monkeypatch) -> None:
    """The host is looked at all the same."""
    monkeypatch.delenv("SH_CLIENT_SECRET")
    code, out, _ = run("doctor", "--json")
    assert code == 3
    assert outcomes(json.loads(out)) == {"deployment": "ok", "clock": "ok", "login": "failed"}


def test_a_wrong_job_is_told_before_anything_is_sent(run, write_job, service: EmulatorProcess) -> None:
    """With the place in the file, and 2."""
    code, out, _ = run("doctor", write_job('"B08"', '"B80"'), "--json")
    assert (code, service.stats()["calls"]) == (2, {})
    assert "sentinel-2-l2a has no band 'B80' (did you mean B8A" in finding(json.loads(out), "job")["found"]


def test_a_job_that_cannot_be_planned_hides_no_other_fault(run, write_job, service: EmulatorProcess) -> None:
    """The account is looked at, and the job's fault is what decides the exit code."""
    code, out, _ = run("doctor", write_job('"area.geojson"', '"nowhere.geojson"'), "--json")
    found = json.loads(out)
    assert code == 2
    assert outcomes(found) == {
        "job": "failed",
        **dict.fromkeys(["deployment", "clock", "login", "collections", "quota"], "ok"),
    }


def test_a_silent_host_is_named(run, service: EmulatorProcess, monkeypatch) -> None:
    """Nothing else is tried with it; the login is."""
    monkeypatch.setenv("SH_BASE_URL", "http://127.0.0.1:9")
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert (code, outcomes(found)) == (5, {"deployment": "failed", "login": "ok"})
    assert "no answer from 127.0.0.1:9" in finding(found, "deployment")["found"]


def test_a_portal_is_not_taken_for_the_service(run, service: EmulatorProcess, portal: str, monkeypatch) -> None:
    """A page with status 200 is no catalogue."""
    monkeypatch.setenv("SH_BASE_URL", portal)
    code, out, _ = run("doctor", "--json")
    found = finding(json.loads(out), "deployment")
    assert code == 5
    assert "answers, but not as Sentinel Hub does: text/html of 33 bytes" in found["found"]
    assert found["cure"].startswith("correct base_url (SH_BASE_URL)")


def test_plain_http_beyond_this_machine_is_refused(run, service: EmulatorProcess, monkeypatch) -> None:
    """Before a secret is sent."""
    monkeypatch.setenv("SH_BASE_URL", "http://sentinel.example")
    code, out, _ = run("doctor", "--json")
    assert (code, service.stats()["calls"]) == (2, {})
    assert "http://sentinel.example is plain http" in finding(json.loads(out), "deployment")["found"]


def test_a_token_of_another_deployment_is_explained(run, service: EmulatorProcess, launched, monkeypatch) -> None:
    """The login works, and the deployment does not know the token."""
    other = launched()
    monkeypatch.setenv("SH_BASE_URL", service.base_url)
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)["findings"][-1]
    assert (code, found["check"], found["outcome"]) == (3, "login", "failed")
    assert f"{service.base_url} refuses the token of {other.token_url}" in found["found"]


def test_a_collection_that_is_not_offered_fails(run, write_job, service: EmulatorProcess) -> None:
    """By the catalogue, and by the service's own refusal, which costs nothing."""
    job = write_job('"sentinel-2-l2a"\nbands = ["B02", "B08"]', '"byoc-nowhere"\nbands = ["B1"]')
    code, out, _ = run("doctor", job, "--json")
    found = json.loads(out)
    assert (code, found["pu_spent"]) == (2, 0)
    assert finding(found, "collections")["found"] == f"{service.base_url} does not offer byoc-nowhere"
    assert "shared with this account" in finding(found, "collections")["cure"]


def test_a_collection_that_the_account_may_not_use_fails(run, write_job, launched) -> None:
    """The refusal is 403, and the cure speaks of its terms."""
    launched(forbidden_dems=["COPERNICUS_30"])
    job = write_job(extra=HEIGHTS + 'dem_instance = "COPERNICUS_30"\n')
    code, out, _ = run("doctor", job, "--json")
    refused = next(each for each in json.loads(out)["findings"] if each["layer"] == "heights")
    assert (code, refused["check"]) == (2, "collections")
    assert "You are not authorized to perform this action." in refused["found"]
    assert "some need its terms to be accepted" in refused["cure"]


def test_a_band_that_the_collection_lacks_fails(run, write_job, launched, archive: Path) -> None:
    """What users bring is not known here; the service says it, and charges nothing."""
    service = launched(archives={"byoc-fields": str(archive)})
    job = write_job('"sentinel-2-l2a"\nbands = ["B02", "B08"]', '"byoc-fields"\nbands = ["B1", "B9"]')
    code, out, _ = run("doctor", job, "--json")
    refused = finding(json.loads(out), "bands")
    assert (code, refused["layer"], service.stats()["pu_charged"]) == (2, "s2", 0)
    assert "has no band B9" in refused["found"]
    assert refused["cure"].startswith("correct bands of layers.s2")


def test_a_time_before_the_first_scene_is_a_warning(run, write_job, service: EmulatorProcess) -> None:
    """The catalogue begins later; a build would run all the same."""
    job = write_job('["2024-06-01", "2024-06-30"]', '["2016-06-01", "2016-06-30"]')
    code, out, _ = run("doctor", job, "--json")
    found = json.loads(out)
    assert (code, outcomes(found)["time range s2"]) == (0, "warning")
    assert finding(found, "time range")["found"] == (
        "2016-06-01 to 2016-06-30 is before the first scene of sentinel-2-l2a here, of 2016-11-01"
    )


def test_an_area_without_data_is_a_warning(run, write_job, service: EmulatorProcess) -> None:
    """No satellite passes on that day, so a build would run, and be empty."""
    job = write_job('["2024-06-01", "2024-06-30"]', '["2024-06-03", "2024-06-03"]')
    code, out, _ = run("doctor", job, "--json")
    found = finding(json.loads(out), "data")
    assert (code, found["outcome"]) == (0, "warning")
    assert found["found"] == "0 of 2500 px in the middle of the area hold some"


def test_what_is_left_of_the_month_must_hold_the_plan(run, write_job, launched) -> None:
    """A failed check that names both numbers, and 4."""
    launched(pu_per_month=0.5)
    code, out, _ = run("doctor", write_job(), "--json")
    found = finding(json.loads(out), "quota")
    assert code == 4
    assert found["found"].startswith("the plan needs ")
    assert found["found"].endswith(" PU, and 0.49 PU are left")


def test_an_account_that_does_not_tell_its_limits_is_a_note(run, write_job, service: EmulatorProcess) -> None:
    """Not every deployment does."""
    service.set_faults({"kind": "403", "service": "account"})
    code, out, _ = run("doctor", write_job(), "--json")
    found = finding(json.loads(out), "quota")
    assert (code, found["outcome"]) == (0, "note")
    assert (found["found"], found["cure"]) == (
        "not known: the deployment does not tell",
        "see your account's dashboard",
    )


def test_other_rates_than_the_jobs_are_told(run, write_job, launched) -> None:
    """Fewer requests a minute than the job counts on are a warning, with what to write."""
    launched(requests_per_minute=120, pu_per_minute=300)
    code, out, _ = run("doctor", write_job(), "--json")
    found = finding(json.loads(out), "rates")
    assert (code, found["outcome"]) == (0, "warning")
    assert found["cure"] == "write requests_per_minute = 120 in [service]"


def test_a_clock_that_is_off_is_a_warning(service: EmulatorProcess) -> None:
    """A minute is too much."""
    found = examine(now=lambda: datetime.now(UTC) + timedelta(seconds=90)).as_dict()
    clock = finding(found, "clock")
    assert (clock["outcome"], found["exit_code"]) == ("warning", 0)
    # the date of an answer is whole seconds, and may be a few old
    assert re.fullmatch(r"9\d s ahead of the service's", clock["found"])


def test_looking_never_costs_more_than_a_tenth(run, write_job, service: EmulatorProcess) -> None:
    """Of layers that would cost more only as much is asked for as fits; the rest is named."""
    job = write_job('"B02", "B08"', ", ".join(f'"{name}"' for name in S2_NAMES), extra=RADAR + HEIGHTS)
    code, out, err = run("doctor", job, "--json")
    found = json.loads(out)
    skipped = [each for each in found["findings"] if "not asked for" in each["found"]]
    assert code == 0, err
    assert {each["outcome"] for each in skipped} == {"note"}
    assert found["pu_spent"] == pytest.approx(service.stats()["pu_charged"], rel=1e-5)
    assert found["pu_spent"] < 0.1


def test_a_script_that_reads_every_scene_is_asked_for_a_day(run, write_job, service: EmulatorProcess) -> None:
    """It pays for each of them."""
    script = """//VERSION=3
function setup() {
  return {input: ["B04", "dataMask"], mosaicking: "TILE", output: {bands: 2, sampleType: "FLOAT32"}};
}
function evaluatePixel(samples) { return samples.length ? [samples[0].B04, samples[0].dataMask] : [0, 0]; }
"""
    job = write_job(
        'bands = ["B02", "B08"]',
        f"evalscript = '''{script}'''\ninput_bands = [\"B04\"]\nmosaicking = \"TILE\"\n"
        'outputs.default = {bands = ["red"]}',
    )
    code, out, _ = run("doctor", job, "--json")
    found = json.loads(out)
    body = service.requests()[-1]["input"]["data"][0]["dataFilter"]["timeRange"]
    assert (code, outcomes(found)["bands s2"]) == (0, "ok")
    assert body == {"from": "2024-06-01T00:00:00Z", "to": "2024-06-01T23:59:59.999Z"}


def test_a_service_in_trouble_is_no_fault_of_the_job(run, write_job, service: EmulatorProcess) -> None:
    """5xx to the small requests end with 5."""
    service.set_faults("503")
    code, out, _ = run("doctor", write_job(), "--json")
    assert (code, outcomes(json.loads(out))["request s2"]) == (5, "failed")


def test_a_used_up_month_is_the_quotas(run, write_job, service: EmulatorProcess) -> None:
    """The service's 403 ends with 4."""
    service.set_faults("403")
    code, out, _ = run("doctor", write_job(), "--json")
    assert (code, outcomes(json.loads(out))["quota s2"]) == (4, "failed")


def test_a_build_looks_before_it_pays(run, write_job, launched) -> None:
    """The last layer's collection is not offered: nothing of the first is bought, and the layer is named."""
    service = launched(forbidden_collections=["sentinel-1-grd"])
    code, _, err = run("build", write_job(extra=RADAR), "cube")
    assert code == 2
    assert f"layers.radar: {service.base_url} does not offer sentinel-1-grd" in err
    assert "services or cdse" in err
    assert not [call for call in service.stats()["calls"] if call.startswith(PROCESS)]


def test_a_build_does_not_need_the_look(run, write_job, service: EmulatorProcess) -> None:
    """A catalogue in trouble stands in nobody's way."""
    service.set_faults({"kind": "503", "service": "catalog"})
    code, _, err = run("build", write_job(), "cube")
    assert code == 0, err


def test_a_build_with_nothing_to_do_does_not_look(run, write_job, service: EmulatorProcess) -> None:
    """A resume of a whole cube sends nothing."""
    run("build", write_job(), "cube")
    service.reset()
    assert run("build", write_job(), "cube")[0] == 0
    assert service.stats()["calls"] == {}


def test_a_build_warns_of_a_clock_that_is_off(run, write_job, service: EmulatorProcess, monkeypatch, caplog) -> None:
    """And goes on."""
    monkeypatch.setattr(preflight, "now_utc", lambda: datetime.now(UTC) - timedelta(hours=1))
    code, _, _ = run("build", write_job(), "cube")
    assert code == 0
    assert "behind the service's; set it (NTP)" in caplog.text
