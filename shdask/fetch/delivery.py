"""What a job left in its bucket: found by listing, and read a row of tiles at a time.

Refuses to know how jobs are ordered and waited for; decides nothing by what is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shdask.errors import DecodeError, ShdaskError, SpoiltDelivery
from shdask.fetch.answers import without_secrets
from shdask.fetch.bucket import Bucket
from shdask.fetch.client import Spent
from shdask.fetch.process import Purchase, RunCpu, run_here
from shdask.fetch.striped import Expected, StripedTiff
from shdask.model import Tile, TileData, Window
from shdask.plan.group import GroupPlan
from shdask.plan.part import Part
from shdask.request.evalscript import SAMPLE_DTYPES
from shdask.s3_access import own_secrets

ERROR = "error.json"
_ENDINGS = ("tif", "tiff")
_ERROR_NBYTES = 64 * 1024
_ERROR_CHARS = 500
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What lies where a job delivers."""

    id: str | None = None
    """The service's id of the job; None where nothing is there. Without files, an object of any name tells it."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The keys of its files, by the output's identifier; those that are there."""
    complete: bool = False
    """Whether a file of every output is there."""
    error: str | None = None
    """What its ``error.json`` says, where it is not complete."""


def find_delivery(bucket: Bucket, prefix: str, outputs: Sequence[str], *, job_id: str | None = None) -> Found:
    """Looks below the folder ``prefix``, which is one job's own, for the files of ``outputs`` or an error.

    Of several jobs that delivered there, ``job_id`` is taken, else a complete one, else one that did not fail.
    Raises StoreError.
    """
    mine: dict[str, list[str]] = {}
    for key in bucket.list(prefix):
        found = _id_of(key.removeprefix(prefix).lstrip("/"))
        if found is not None and job_id in {None, found}:
            mine.setdefault(found, []).append(key)
    candidates = [_sort_out(bucket, each, keys, outputs) for each, keys in sorted(mine.items())]
    return max(candidates, key=lambda each: (each.complete, each.error is None), default=Found())


def _id_of(path: str) -> str | None:
    """The job that wrote an object at ``path`` below its prefix: a copy of its request may have any name."""
    found = _UUID.search(path)
    if found is not None:
        return found[0]
    folder, slash, _ = path.partition("/")
    return folder if slash else None


def _sort_out(bucket: Bucket, job_id: str, keys: Sequence[str], outputs: Sequence[str]) -> Found:
    names = {key.rpartition("/")[2]: key for key in keys}
    spelt = [(output, names.get(f"{output}.{ending}")) for ending in _ENDINGS for output in outputs]
    files = {output: key for output, key in spelt if key is not None}
    complete = len(files) == len(outputs)
    error = None
    if ERROR in names and not complete:
        error = read_error(bucket.read(names[ERROR], _ERROR_NBYTES), own_secrets())
    return Found(id=job_id, keys=files, complete=complete, error=error)


def read_error(body: bytes, secrets: Sequence[str] = ()) -> str:
    """What an ``error.json`` says, in one line without ``secrets``. Pure.

    Only its ``message`` is told: its other members are not documented, and may repeat the order with its keys.
    """
    text = without_secrets(body, secrets).decode("utf-8", errors="replace")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    inner = told.get("error", told) if isinstance(told, dict) else told
    message = inner if isinstance(inner, str) else inner.get("message") if isinstance(inner, dict) else None
    line = " ".join(str(message or "").split())
    return line[:_ERROR_CHARS] or "(no message)"


def fetch_delivered(
    plan: GroupPlan,
    tiles: Sequence[Tile],
    window: Window,
    keys: Sequence[Mapping[str, str]],
    bucket: Bucket,
    *,
    run_cpu: RunCpu = run_here,
    spent: Spent | None = None,
    purchases: Sequence[Purchase] | None = None,
) -> list[TileData]:
    """Tiles of one row, as `fetch_tiles` returns them, from the files of the jobs for ``window`` that bring them.

    ``keys`` has, for each part of the layer, the key of each output's file; none leaves the part out. Files are read
    over their whole width once, only the rows that the tiles take. What comes is kept in ``purchases``, one for each
    tile, also where this raises; what they have already is not read. Bytes are counted in ``spent``.

    Memory: values and two masks of ``tiles``, and four times the larger of 16 MiB and one compressed strip's
    uncompressed size; whatever the size of the files. Measured (``make bench ONLY=async_rows``), five tiles of 2048 px
    from 10,000 x 10,000 px of four uint16 bands and a mask: 195 MiB of tiles, and beyond them 11 MiB from 954 MiB that
    are not compressed, 69 MiB from 570 MiB of deflate.
    Raises SpoiltDelivery for a file that is not what was ordered, StoreError for one that cannot be read.
    """
    purchases = [Purchase.begin(plan, [tile]) for tile in tiles] if purchases is None else purchases
    spent = Spent() if spent is None else spent
    held = list(zip(tiles, purchases, strict=True))
    try:
        for number, (part, names) in enumerate(zip(plan.layer.parts, keys, strict=True)):
            if names:
                collection = _Collection(plan=plan, window=window, part=part, number=number, held=held)
                collection.read(names, bucket, run_cpu, spent)
    except ShdaskError as error:
        failure = SpoiltDelivery(str(error)) if isinstance(error, DecodeError) else error
        failure.add_note(f"tiles {tiles[0].index} to {tiles[-1].index}, of a job for {window}")
        raise failure from error.__cause__
    return [purchase.tile(0) for purchase in purchases]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collection:
    """A part of the layer on its way from a job's files to tiles."""

    plan: GroupPlan
    window: Window
    part: Part
    number: int
    held: Sequence[tuple[Tile, Purchase]]

    def read(self, keys: Mapping[str, str], bucket: Bucket, run_cpu: RunCpu, spent: Spent) -> None:
        """Reads what is lacking."""
        wanted = [
            window
            for tile, purchase in self.held
            for window in tile.windows
            if not purchase.has(self.number, window.within(tile.extent).slices)
        ]
        if not wanted:
            return
        tiffs = [StripedTiff.open(bucket, keys[name], expected) for name, expected in self._expected().items()]
        top = self.window.y0
        y0, y1 = min(window.y0 for window in wanted) - top, max(window.y1 for window in wanted) - top
        for start, end in tiffs[0].slabs(y0, y1):
            pictures = [tiff.read_rows(start, end, run_cpu=run_cpu) for tiff in tiffs]
            spent.nbytes += sum(tiff.nbytes_of(start, end) for tiff in tiffs)
            run_cpu(partial(self._place, pictures, start + top, end + top))

    def _place(self, pictures: list[NDArray[Any]], y0: int, y1: int) -> None:
        """Puts rows [y0, y1) of the array, (band, y, x) for each output, into the tiles."""
        first, *others = pictures
        # the first brings the mask
        picture = np.concatenate([first[:-1], *others, first[-1:]]) if others else first
        for tile, purchase in self.held:
            for window in tile.windows:
                top, bottom = max(window.y0, y0), min(window.y1, y1)
                if top < bottom:
                    rows = Window(y0=top, y1=bottom, x0=window.x0, x1=window.x1)
                    columns = slice(window.x0 - self.window.x0, window.x1 - self.window.x0)
                    pixels = picture[np.newaxis, :, top - y0 : bottom - y0, columns]
                    purchase.add(self.number, self.part.bands, rows.within(tile.extent).slices, pixels)

    def _expected(self) -> dict[str, Expected]:
        return {
            picture.identifier: Expected(
                shape=self.window.shape,
                band_count=len(picture.bands) + (position == 0),
                dtype=SAMPLE_DTYPES[picture.sample_type],
                bounds=self.plan.grid.bounds(self.window),
                epsg=self.plan.grid.epsg,
            )
            for position, picture in enumerate(self.part.pictures)
        }
