"""Takes the documentation's picture of the page: Slovenia at 20 m, half built on the emulator, with some trouble."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

from distributed import Client

import shdask
from shdask.cluster.local import open_local_client
from shdask.emulator.launch import start_emulator
from tests.browser.chromium import Browser, open_browser

ROOT = Path(__file__).parents[2]
BORDER = ROOT.parent / "shared" / "data" / "slovenia.geojson"
PICTURE = ROOT / "docs" / "dashboard.png"
TROUBLE = "html:0.2,503:0.05"
"""One tile in a hundred is answered with something else than a picture three times, and fails."""
SHARE = 0.45
TILE = (24.5, 18.5)
"""In the map's coordinates, from the south-west."""


def make_spec(*, aoi: object = str(BORDER), tile_px: int = 256) -> shdask.CubeSpec:
    """Two bands; 885 tiles of 256 px."""
    return shdask.CubeSpec(
        aoi=aoi,
        crs="EPSG:32633",
        resolution=20,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B04", "B08"], "mosaicking_order": "leastCC"}},
        store={"chunk_px": 128, "tile_px": tile_px},
        service={"requests_per_minute": 600, "pu_per_minute": 600},
    )


def wait_for_share(browser: Browser, share: float) -> None:
    """Until so many tiles are written."""
    source = "Array.from(Bokeh.documents[0].get_model_by_name('map').renderers[0].data_source.data.image[0])"
    browser.wait_for(
        f"(cells => cells.filter(c => c == 2).length > {share} * cells.filter(c => c).length)({source})", 900
    )


def main() -> None:
    """Build, and look."""
    os.environ["SHDASK_LEARN"] = "0"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["SHDASK_SPOOL"] = str(Path(folder, "spool"))
        take_picture(Path(folder, "slovenia.zarr"))


def take_picture(store: Path) -> None:
    """Of a build of ``store`` in its midst."""
    with (
        start_emulator(latency_s=1.0) as service,
        open_local_client(2) as client,
        open_browser() as browser,
    ):
        os.environ.update(service.environment())
        service.set_faults(TROUBLE)

        def build() -> None:
            with Client(client.scheduler.address, set_as_default=False) as owner:
                shdask.build_cube(make_spec(), store, client=owner, max_pu=160)

        thread = threading.Thread(target=build)
        thread.start()
        page = client.dashboard_link.replace("/status", "/shdask")
        while thread.is_alive() and "shdask-watch" not in client.run_on_scheduler(
            lambda dask_scheduler: list(dask_scheduler.plugins)
        ):
            thread.join(0.5)
        browser.open(page)
        wait_for_share(browser, SHARE)
        browser.click_map(*TILE)
        browser.wait_for_text("explanation", "<pre>")
        browser.evaluate("document.activeElement.blur()")  # a click draws a frame around the map
        thread.join(2.0)  # a moment in which the page settles
        browser.screenshot(PICTURE)
        service.clear_faults()
        thread.join()


if __name__ == "__main__":
    main()
