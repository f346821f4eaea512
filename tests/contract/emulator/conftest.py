"""One emulator for the tests of this folder, and the few ways they talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from shdask.emulator.launch import EmulatorProcess, start_emulator

SCENE = "sentinel-2-l1c_T18SVG_2016-01-12"
SCRIPT = """//VERSION=3
function setup() {
  return {input: [{bands: ["B02", "dataMask"], units: "DN"}], output: {bands: 2, sampleType: "UINT16"}};
}
function evaluatePixel(s) { return [s.B02, s.dataMask]; }
"""


class Client:
    """A bare HTTP client with a token; it knows no more than the service's documentation."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self.emulator = emulator
        self.session = requests.Session()
        self.token = self.login().json()["access_token"]

    def login(self, path: str | None = None, **changes: str) -> requests.Response:
        """The answer to a token request with these form fields changed."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.emulator.client_id,
            "client_secret": self.emulator.client_secret,
        }
        url = self.emulator.token_url if path is None else self.emulator.base_url + path
        return self.session.post(url, data={**form, **changes}, timeout=30)

    def process(self, body: Any, *, token: str | None = None, accept: str = "*/*") -> requests.Response:
        """The answer to a Process request."""
        headers = {"Authorization": f"Bearer {token or self.token}", "Accept": accept}
        url = self.emulator.base_url + "/api/v1/process"
        return self.session.post(url, json=body, headers=headers, timeout=120)


def make_body(**changes: Any) -> dict[str, Any]:
    """A Process body for 20 x 10 pixels of the pattern; ``changes`` by "path.to.field", None removes it."""
    body: dict[str, Any] = {
        "input": {
            "bounds": {
                "bbox": [500000, 5099900, 500200, 5100000],
                "properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32633"},
            },
            "data": [
                {
                    "type": "pattern",
                    "dataFilter": {"timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-30T23:59:59Z"}},
                }
            ],
        },
        "evalscript": SCRIPT,
        "output": {
            "width": 20,
            "height": 10,
            "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}],
        },
    }
    return change(body, **changes)


def change(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """``body`` with these changes by "path.to.field"; None removes a field."""
    for path, value in changes.items():
        *parents, last = path.split(".")
        place: Any = body
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return body


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorProcess]:
    """An emulator without limits, with the shared scene where it is there."""
    scene = Path(__file__).parents[3].parent / "shared" / "data" / SCENE
    archives = {"byoc-scene": str(scene)} if scene.exists() else {}
    with start_emulator(archives=archives, script_timeout_s=2.0) as running:
        yield running


@pytest.fixture(scope="session")
def client(emulator: EmulatorProcess) -> Client:
    """A client with a token of the shared emulator."""
    return Client(emulator)


@pytest.fixture(scope="session")
def reference(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The service's own Python client: ``client``, its module, and ``config`` and ``optical``, pointed at the emulator.

    One for all, because it refuses a second collection of the same definition.
    """
    with pytest.MonkeyPatch.context() as patch:
        # importing it writes a file of settings into the home folder
        home = str(tmp_path_factory.mktemp("home"))
        patch.setenv("HOME", home)
        patch.setenv("XDG_CONFIG_HOME", home)
        import sentinelhub

    config = sentinelhub.SHConfig(
        use_defaults=True,
        sh_client_id=emulator.client_id,
        sh_client_secret=emulator.client_secret,
        sh_base_url=emulator.base_url,
        sh_token_url=emulator.token_url,
    )
    optical = sentinelhub.DataCollection.SENTINEL2_L2A.define_from("EMULATED", service_url=emulator.base_url)
    return SimpleNamespace(client=sentinelhub, config=config, optical=optical)


@pytest.fixture
def launched() -> Iterator[Callable[..., Client]]:
    """Starts an emulator with options of its own, and ends it after the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda **options: Client(stack.enter_context(start_emulator(renderers=1, **options)))
