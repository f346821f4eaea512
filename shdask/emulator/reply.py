"""The form of an answer: which outputs, in which file formats, alone or in a tar.

Refuses to know what the outputs hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shdask.emulator.body import Response
from shdask.emulator.refusal import bad_payload, not_emulated

USERDATA = "userdata"
JSON = "application/json"
TAR_TYPES = ("application/tar", "application/x-tar")
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
        """Its name in a tar. Pure."""
        return f"{self.identifier}.{EXTENSIONS[self.format]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Everything one answer holds."""

    renditions: tuple[Rendition, ...]
    """In the order of the request; exactly one where ``tar`` is False."""
    tar: bool

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
        return "application/x-tar" if self.tar else self.renditions[0].format


def choose_reply(responses: Sequence[Response], accept: str, several_without_tar: str) -> Reply:
    """The form of the answer to these responses under this Accept header, which wins over their formats.

    ``several_without_tar`` is EmulatorConfig's. Pure; raises Refusal (400) for what is not served.
    """
    accepted = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    exact = [kind for kind in accepted if kind and "*" not in kind]
    renditions = tuple(
        Rendition(identifier=response.identifier, format=response.format.type, quality=response.format.quality)
        for response in responses
    )
    if len({rendition.identifier for rendition in renditions}) < len(renditions):
        raise bad_payload("The identifiers of responses must be unique.", "output->responses->identifier")
    if any(kind in TAR_TYPES for kind in exact) or (len(renditions) > 1 and several_without_tar == "tar"):
        return Reply(renditions=tuple(map(_check, renditions)), tar=True)
    if len(renditions) > 1 and several_without_tar == "refuse":
        message = f"several responses without one of {' and '.join(TAR_TYPES)} in the Accept header"
        raise not_emulated(message)
    first = replace(renditions[0], format=exact[0]) if exact else renditions[0]
    return Reply(renditions=(_check(first),), tar=False)


def _check(rendition: Rendition) -> Rendition:
    if rendition.format not in EXTENSIONS:
        raise not_emulated(f"the format {rendition.format}, only {', '.join(EXTENSIONS)}")
    # numbers as JSON are nowhere documented
    if (rendition.identifier == USERDATA) != (rendition.format == JSON):
        message = f"The output {rendition.identifier} cannot be had as {rendition.format}: {JSON} is for {USERDATA}."
        raise bad_payload(message, "output->responses->format->type")
    return rendition
