"""SentinelHubRequest and AsyncProcessRequest: arguments in, one request's URL, headers and JSON out.

Refuses to know how a request is sent, cached and decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shdask.request.bounds import place_json
from shdask.request.delivery import hide_secrets, s3_json
from shdask.request.parts import (
    ASYNC_PROCESS_MAX_PX,
    PROCESS_MAX_PX,
    body_json,
    merge_json,
    output_json,
    response_json,
    without_none,
)
from shdask.sentinelhub.base import ProcessingRequest
from shdask.sentinelhub.config import SHConfig
from shdask.sentinelhub.connections import BasedAccount
from shdask.sentinelhub.constants import MimeType
from shdask.sentinelhub.geometry import BBox, Geometry, read_bbox, read_geometry
from shdask.sentinelhub.inputs import choose_base_url, input_data
from shdask.sentinelhub.sizes import check_size

Json = dict[str, Any]


def bounds(
    bbox: BBox | None = None, geometry: Geometry | None = None, other_args: Mapping[str, Any] | None = None
) -> Json:
    """The ``input.bounds`` member: the picture covers the bbox, else the geometry's; data lies in the geometry. Pure.

    Raises ValueError without either, for two CRSs, and for what is neither a BBox nor a Geometry with its CRS.
    """
    box = None if bbox is None else read_bbox(bbox)
    shape = None if geometry is None else read_geometry(geometry)
    if box is not None and shape is not None and box.crs != shape.crs:
        raise ValueError(f"bbox is in {box.crs} and geometry in {shape.crs}; give both in one CRS")
    place = box if box is not None else shape
    if place is None:
        raise ValueError("a request needs a bbox, a geometry, or both")
    written = place_json(
        place.crs.epsg, bbox=box, geometry=None if shape is None else shape.get_geojson(with_crs=False)
    )
    return merge_json(written, other_args or {})


def output_response(
    identifier: str, response_format: str | MimeType, other_args: Mapping[str, Any] | None = None
) -> Json:
    """One entry of ``output.responses``: the output ``identifier`` of the evalscript as a file of this format. Pure.

    The format is a MimeType, or an extension or media type such as ``"tiff"``, ``"jpeg"``, ``"image/png"``.
    Raises ValueError for a format that is not known.
    """
    media_type = MimeType.from_string(str(getattr(response_format, "value", response_format))).get_string()
    return merge_json(response_json(identifier, media_type), other_args or {})


class _ApiRequest(ProcessingRequest):
    """What both requests share."""

    bounds = staticmethod(bounds)
    input_data = staticmethod(input_data)
    output_response = staticmethod(output_response)


class SentinelHubRequest(_ApiRequest):
    """One picture, or several of one place, by the Process API.

    ``responses`` has an entry for each output of the evalscript; with more than one, ``get_data`` gives a dict of file
    name to content. Size in pixels is (width, height); resolution is (x, y) in units of the CRS.
    Raises ValueError before anything is sent: for an evalscript that is no text, bounds in two CRSs or none, size and
    resolution together, a side above 2500 pixels, collections of different deployments.
    """

    def __init__(  # noqa: PLR0917  # sentinelhub-py's signature
        self,
        evalscript: str,
        input_data: Sequence[Mapping[str, Any]],
        responses: Sequence[Mapping[str, Any]],
        bbox: BBox | None = None,
        geometry: Geometry | None = None,
        size: tuple[int, int] | None = None,
        resolution: tuple[float, float] | None = None,
        *,
        data_folder: str | None = None,
        config: BasedAccount | None = None,
    ) -> None:
        if not isinstance(evalscript, str):
            raise ValueError(f"evalscript is its text, not {evalscript!r}")  # noqa: TRY004  # theirs too
        first = MimeType.from_string(responses[0]["format"]["type"])
        payload = self.body(
            self.bounds(bbox, geometry), input_data, evalscript, self.output(responses, size, resolution)
        )
        check_size(payload["output"], payload["input"]["bounds"], limit_px=PROCESS_MAX_PX)
        config = config or SHConfig()
        super().__init__(
            url=f"{choose_base_url(input_data, config.sh_base_url)}/api/v1/process",
            payload=payload,
            mime_type=MimeType.TAR if len(responses) > 1 else first,
            data_folder=data_folder,
            config=config,
        )

    @staticmethod
    def body(
        request_bounds: Json,
        request_data: Sequence[Mapping[str, Any]],
        evalscript: str,
        request_output: Json | None = None,
        other_args: Mapping[str, Any] | None = None,
    ) -> Json:
        """The whole body, ``other_args`` laid over it member by member. Pure."""
        written = body_json(bounds=request_bounds, data=request_data, evalscript=evalscript, output=request_output)
        return merge_json(written, other_args or {})

    @staticmethod
    def output(
        responses: Sequence[Mapping[str, Any]],
        size: tuple[int, int] | None = None,
        resolution: tuple[float, float] | None = None,
        other_args: Mapping[str, Any] | None = None,
    ) -> Json:
        """The ``output`` member; 256 x 256 pixels without size and resolution. Pure. Raises ValueError for both."""
        return merge_json(output_json(responses, size=size, resolution=resolution), other_args or {})


class AsyncProcessRequest(_ApiRequest):
    """One large picture by an Async Process job, which leaves its files in S3; ``get_data`` gives the job's id.

    Give the evalscript itself, or where it lies in S3. ``delivery`` and ``evalscript_reference`` are made by
    ``s3_specification``; their secrets are sent, and shown nowhere.
    Raises ValueError as SentinelHubRequest does, with 10000 pixels for the limit of a side.
    """

    def __init__(
        self,
        *,
        evalscript: str | None = None,
        evalscript_reference: Mapping[str, Any] | None = None,
        input_data: Sequence[Mapping[str, Any]],
        responses: Sequence[Mapping[str, Any]],
        delivery: Mapping[str, Any],
        bbox: BBox | None = None,
        geometry: Geometry | None = None,
        size: tuple[int, int] | None = None,
        resolution: tuple[float, float] | None = None,
        data_folder: str | None = None,
        config: BasedAccount | None = None,
    ) -> None:
        payload = self.body(
            self.bounds(bbox, geometry),
            input_data,
            evalscript,
            evalscript_reference,
            self.output(responses, delivery, size, resolution),
        )
        check_size(payload["output"], payload["input"]["bounds"], limit_px=ASYNC_PROCESS_MAX_PX)
        config = config or SHConfig()
        super().__init__(
            url=f"{choose_base_url(input_data, config.sh_base_url)}/api/v1/async/process",
            payload=payload,
            mime_type=MimeType.JSON,
            data_folder=data_folder,
            config=config,
        )

    @staticmethod
    def s3_specification(
        url: str,
        access_key: str | None = None,
        secret_access_key: str | None = None,
        iam_role_arn: str | None = None,
        region: str | None = None,
    ) -> Json:
        """A place in S3 and the right to use it: a role, or a pair of keys. Pure. Raises ValueError for any else."""
        return s3_json(
            url,
            access_key=access_key,
            secret_access_key=secret_access_key,
            iam_role_arn=iam_role_arn,
            region=region,
        )

    @staticmethod
    def body(  # noqa: PLR0917  # sentinelhub-py's signature
        request_bounds: Json,
        request_data: Sequence[Mapping[str, Any]],
        evalscript: str | None,
        evalscript_reference: Mapping[str, Any] | None,
        request_output: Json | None = None,
        other_args: Mapping[str, Any] | None = None,
    ) -> Json:
        """The whole body, ``other_args`` laid over it member by member; a member of None is left out. Pure.

        Raises ValueError unless there is exactly one of ``evalscript`` and ``evalscript_reference``.
        """
        written = body_json(
            bounds=request_bounds,
            data=request_data,
            evalscript=evalscript,
            evalscript_reference=evalscript_reference,
            output=request_output,
        )
        return dict(hide_secrets(without_none(merge_json(written, other_args or {}))))

    @staticmethod
    def output(
        responses: Sequence[Mapping[str, Any]],
        delivery: Mapping[str, Any],
        size: tuple[int, int] | None = None,
        resolution: tuple[float, float] | None = None,
        other_args: Mapping[str, Any] | None = None,
    ) -> Json:
        """The ``output`` member; 256 x 256 pixels without size and resolution. Pure. Raises ValueError for both."""
        written = output_json(responses, delivery=delivery, size=size, resolution=resolution)
        return dict(hide_secrets(merge_json(written, other_args or {})))
