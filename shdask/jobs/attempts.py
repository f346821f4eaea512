"""Attempts of a job: the folder that each delivers to, and which of them are worth another look.

Pure but for a folder's random letters. Refuses to know what lies in the folders.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from shdask.assemble.job_rows import JobIntent, JobRecord
from shdask.plan.group import GroupPlan
from shdask.plan.jobs import Job

CUBE_CHARS = 12
OVER_S = 24 * 3600.0
"""A job of which nothing was heard delivers nothing any more so long after it was ordered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A folder to be looked into for what one attempt has left."""

    attempt: int
    prefix: str
    """Below the bucket's place."""
    outputs: tuple[str, ...]
    """Identifiers of the files that make it complete."""
    job_id: str | None


def name_folder(cube_name: str, key: str, attempt: int) -> str:
    """A new folder for an attempt, below the bucket's place: no other attempt, of whatever cube, has it."""
    cube = hashlib.sha256(cube_name.encode()).hexdigest()[:CUBE_CHARS]
    return f"{cube}/{key}-{attempt}-{secrets.token_hex(4)}"


def folder_of(intent: JobIntent, place_url: str) -> str:
    """The folder of an attempt below the bucket's place at ``place_url``."""
    return intent.url.removeprefix(f"{place_url}/")


def look_into(plan: GroupPlan, record: JobRecord, part: int, place_url: str) -> Look:
    """How to look for what an attempt for a part of the layer has left."""
    return Look(
        attempt=record.intent.attempt,
        prefix=folder_of(record.intent, place_url),
        outputs=tuple(picture.identifier for picture in plan.layer.parts[part].pictures),
        job_id=record.id,
    )


def hopeful(records: Iterable[JobRecord], job: Job, digest: str) -> list[JobRecord]:
    """Attempts that were given up and would bring the same as ``job``, whose digest is given, if they have come."""
    return [
        each
        for each in records
        if each.may_yet_deliver
        and each.intent.window == job.window
        and each.intent.digest == digest
        and each.stale.isdisjoint(job.tiles)
    ]


def is_over(record: JobRecord, posix: float) -> bool:
    """Whether an attempt leaves nothing more in its folder after ``posix``, as far as anybody can know."""
    is_unheard = record.end in {None, "stale"} or record.may_yet_deliver
    return not is_unheard or posix - record.intent.at > OVER_S
