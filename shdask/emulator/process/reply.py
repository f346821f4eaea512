"""The form of an answer: which outputs, in which file formats, alone or in a package of several.

Refuses to know what the outputs hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shdask.emulator.process.body import Response
from shdask.emulator.refusal import Refusal, bad_payload, not_emulated

USERDATA = "userdata"
JSON = "application/json"
TAR = "application/x-tar"
TAR_TYPES = ("application/tar", TAR)
MULTIPART = "multipart/mixed"
BOUNDARY = "shdask-emulator-part-7d41c2"
CROSS_ORIGIN = {
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "origin,content-type,accept,accept-crs,authorization,cache-control",
    "access-control-allow-credentials": "true",
    "access-control-allow-methods": "GET, POST, PUT, DELETE, OPTIONS, HEAD, PATCH",
    "access-control-max-age": "3600",
}
"""Headers of an observed answer, which let pages of other sites ask."""
EXTENSIONS = {"image/tiff": "tif", "image/png": "png", "image/jpeg": "jpg", JSON: "json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One output in one format."""

    identifier: str
    """An output of setup(), or ``userdata``."""
    format: str
    """A media type."""
    quality: int
    """Of a JPEG, 0 to 100."""

    @property
    def file_name(self) -> str:
        """Its name in a package. Pure."""
        return f"{self.identifier}.{EXTENSIONS[self.format]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Everything one answer holds."""

    renditions: tuple[Rendition, ...]
    """In the order of the request; exactly one where it comes without a package."""
    tar: bool
    multipart: bool = False

    @property
    def images(self) -> tuple[Rendition, ...]:
        """All but ``userdata``. Pure."""
        return tuple(rendition for rendition in self.renditions if rendition.identifier != USERDATA)

    @property
    def userdata(self) -> bool:
        """Whether the script's metadata is asked for. Pure."""
        return len(self.images) < len(self.renditions)

    @property
    def media_type(self) -> str:
        """The answer's Content-Type. Pure."""
        if self.multipart:
            return f"{MULTIPART}; boundary={BOUNDARY}"
        return TAR if self.tar else self.renditions[0].format


def choose_reply(responses: Sequence[Response], accept: str, several_without_tar: str) -> Reply:
    """The form of the answer to these responses under this Accept header, which wins over their formats.

    ``several_without_tar`` is EmulatorConfig's. Pure; raises Refusal (400) for what is not served, or not accepted.
    """
    accepted = read_accept(accept)
    renditions = tuple(
        Rendition(identifier=response.identifier, format=response.format.type, quality=response.format.quality)
        for response in responses
    )
    if len({rendition.identifier for rendition in renditions}) < len(renditions):
        raise bad_payload("The identifiers of responses must be unique.", "output->responses->identifier")
    packages = [kind for kind in accepted if kind in TAR_TYPES or kind == MULTIPART]
    if len(renditions) > 1 and not packages:
        if several_without_tar == "refuse":
            raise not_emulated(f"several responses without one of {' and '.join(TAR_TYPES)} in the Accept header")
        packages = [TAR] if several_without_tar == "tar" else []
    if packages and (len(renditions) > 1 or accepted[0] in packages):
        multipart = packages[0] == MULTIPART
        return Reply(renditions=tuple(map(_check, renditions)), tar=not multipart, multipart=multipart)
    return Reply(renditions=(_choose_format(renditions[0], accepted),), tar=False)


def read_accept(header: str) -> tuple[str, ...]:
    """The media types of an Accept header, the most wanted first; those with q=0 are left out. Pure.

    Types that are wanted alike keep their order; an empty header wants anything.
    """
    weighed = []
    for part in header.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        weight = float(quality) if quality.replace(".", "", 1).isdecimal() and quality.isascii() else 1.0
        if kind and weight > 0:
            weighed.append((weight, kind))
    return tuple(kind for _, kind in sorted(weighed, key=lambda item: -item[0])) or ("*/*",)


def _choose_format(rendition: Rendition, accepted: Sequence[str]) -> Rendition:
    refusals = []
    for kind in accepted:
        wanted = rendition.format if _matches(kind, rendition.format) else kind
        try:
            return _check(replace(rendition, format=wanted))
        except Refusal as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _matches(pattern: str, kind: str) -> bool:
    return pattern in {"*", "*/*", kind, kind.partition("/")[0] + "/*"}


def _check(rendition: Rendition) -> Rendition:
    if rendition.format not in EXTENSIONS:
        # the layout of application/octet-stream is nowhere documented
        raise not_emulated(f"the format {rendition.format}, only {', '.join(EXTENSIONS)}")
    # numbers as JSON are nowhere documented
    if (rendition.identifier == USERDATA) != (rendition.format == JSON):
        message = f"The output {rendition.identifier} cannot be had as {rendition.format}: {JSON} is for {USERDATA}."
        raise bad_payload(message, "output->responses->format->type")
    return rendition
