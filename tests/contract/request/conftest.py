"""One emulator, and pictures bought from it with bodies and scripts of ours.

Refuses to know plans and tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from shdask.emulator.launch import EmulatorProcess
from shdask.request.body import process_body
from shdask.request.bounds import bounds_json


@dataclass(frozen=True, kw_only=True)
class Bought:
    """A picture, and what it cost."""

    picture: NDArray[np.generic]
    """(band, y, x)."""
    pu: float


@pytest.fixture(scope="module")
def post(earth: EmulatorProcess) -> Iterator[Callable[..., requests.Response]]:
    """Sends a Process body."""
    form = {
        "grant_type": "client_credentials",
        "client_id": earth.client_id,
        "client_secret": earth.client_secret,
    }
    with requests.Session() as session:
        token = session.post(earth.token_url, data=form, timeout=30).json()["access_token"]
        url = f"{earth.base_url}/api/v1/process"

        def send(body: Mapping[str, Any], accept: str = "*/*") -> requests.Response:
            headers = {"Authorization": f"Bearer {token}", "Accept": accept}
            return session.post(url, json=body, headers=headers, timeout=120)

        yield send


@pytest.fixture(scope="module")
def buy(post: Callable[..., requests.Response]) -> Callable[..., Bought]:
    """Buys ``size`` (x, y) pixels of a bbox in UTM zone 33 N."""

    def send(
        data: Mapping[str, Any],
        script: str,
        *,
        bbox: tuple[float, float, float, float],
        size: tuple[int, int] = (64, 48),
    ) -> Bought:
        width, height = size
        bounds = bounds_json(32633, bbox=bbox)
        answer = post(process_body(bounds=bounds, data=[data], evalscript=script, width=width, height=height))
        assert answer.status_code == 200, answer.text
        with MemoryFile(answer.content) as file, file.open() as source:
            return Bought(picture=source.read(), pu=float(answer.headers["x-processingunits-spent"]))

    return send
