"""What a deployment offers, by its own catalogue, against what a job asks for: collections, and since when.

Refuses to send anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from shdask.doctor.findings import Finding, Outcome
from shdask.model import TimeInterval
from shdask.plan.layer import LayerPlan
from shdask.request.collections import USER_PREFIXES, find_collection
from shdask.settings import Deployment

HOMES: Mapping[str, str] = MappingProxyType(
    {
        "sentinel-1-grd": "services or cdse",
        "sentinel-2-l1c": "services or cdse",
        "sentinel-2-l2a": "services or cdse",
        "landsat-ot-l1": "services-uswest2",
        "landsat-ot-l2": "services-uswest2",
    }
)
"""Collection -> deployments that serve it (documentation, pages "Data")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the catalogue says of one collection."""

    start: datetime | None = None
    """Of its first scene; None where it does not say."""
    end: datetime | None = None
    """Of its last; None where it goes on."""
    bands: tuple[str, ...] = ()
    """Those that it names; it does not name them all."""


def read_offers(told: Mapping[str, Any]) -> dict[str, Offer]:
    """Collection id -> what a list of STAC collections says of it; what cannot be read is left out. Pure."""
    entries = told.get("collections")
    found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {entry["id"]: _read_offer(entry) for entry in found if isinstance(entry.get("id"), str)}


def read_children(told: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the collections that a catalogue's entry page links to. Pure."""
    links = told.get("links")
    found = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    hrefs = [link.get("href") for link in found if link.get("rel") == "child"]
    return frozenset(href.rstrip("/").rpartition("/")[2] for href in hrefs if isinstance(href, str))


def collections_of(layers: Iterable[LayerPlan]) -> tuple[str, ...]:
    """What layers read, by the service's names, each once. Pure."""
    return tuple(dict.fromkeys(each.collection for layer in layers for each in layer.inputs))


def find_missing(wanted: Iterable[str], offered: Collection[str]) -> tuple[str, ...]:
    """Of the collections that are ``wanted`` and have a catalogue those that it does not have. Pure."""
    return tuple(name for name in wanted if (find_collection(name).catalog_id or name) not in offered and _listed(name))


def explain_missing(name: str, deployment: Deployment) -> tuple[str, str]:
    """What it means that a deployment's catalogue does not have a collection, and the cure. Pure."""
    found = f"{deployment.base_url} does not offer {name}"
    if name.startswith(USER_PREFIXES):
        return found, "check its id, that it is shared with this account, and that its data lie at this deployment"
    homes = HOMES.get(name, "another deployment")
    return found, f"it is offered by {homes}; correct deployment in [service] (SH_BASE_URL goes before it)"


def check_collections(wanted: tuple[str, ...], offers: Mapping[str, Offer], deployment: Deployment) -> list[Finding]:
    """Whether all that is ``wanted`` is offered; what is offered at all where nothing is. Pure."""
    if not wanted:
        names = ", ".join(sorted(offers)) or "none"
        return [Finding(check="collections", outcome="ok", found=f"{len(offers)} offered: {names}")]
    missing = find_missing(wanted, offers)
    findings = []
    for name in missing:
        found, cure = explain_missing(name, deployment)
        findings.append(Finding(check="collections", outcome="failed", found=found, cure=cure, exit_code=2))
    there = [name if _listed(name) else f"{name} (in no catalogue)" for name in wanted if name not in missing]
    if there:
        findings.append(Finding(check="collections", outcome="ok", found=", ".join(there)))
    return findings


def check_time(layer: LayerPlan, offers: Mapping[str, Offer]) -> Finding | None:
    """Whether what a layer reads goes on during the time that is asked for; None for a layer without time. Pure."""
    asked = [(each.collection, each.interval or layer.interval) for each in layer.inputs if each.has_time]
    told = [
        _compare(name, offers.get(find_collection(name).catalog_id or name, Offer()), interval)
        for name, interval in asked
        if interval is not None
    ]
    if not told:
        return None
    outcome, found = max(told, key=lambda each: _RANK[each[0]])
    cure = "correct time, or take another collection" if outcome == "warning" else ""
    return Finding(check="time range", outcome=outcome, found=found, cure=cure, layer=layer.name)


_RANK: Mapping[Outcome, int] = MappingProxyType({"ok": 0, "note": 1, "warning": 2, "failed": 3})


def _compare(name: str, offer: Offer, interval: TimeInterval) -> tuple[Outcome, str]:
    last = interval.end - timedelta(milliseconds=1)
    asked = f"{interval.start:%Y-%m-%d} to {last:%Y-%m-%d}"
    if offer.start is not None and interval.end <= offer.start:
        return "warning", f"{asked} is before the first scene of {name} here, of {offer.start:%Y-%m-%d}"
    if offer.end is not None and interval.start > offer.end:
        return "warning", f"{asked} is after the last scene of {name} here, of {offer.end:%Y-%m-%d}"
    if offer.start is not None and interval.start < offer.start:
        return "note", f"{asked} begins before the first scene of {name} here, of {offer.start:%Y-%m-%d}"
    since = "" if offer.start is None else f", which {name} has since {offer.start:%Y-%m-%d}"
    return "ok", f"{asked}{since}"


def _listed(name: str) -> bool:
    """Whether a collection is one that catalogues list."""
    return find_collection(name).catalog_id is not None


def _read_offer(entry: Mapping[str, Any]) -> Offer:
    try:
        start, end = map(_read_time, entry["extent"]["temporal"]["interval"][0])
    except (KeyError, IndexError, TypeError, ValueError):
        start = end = None
    summaries = entry.get("summaries")
    bands = summaries.get("eo:bands") if isinstance(summaries, dict) else None
    names = [band.get("name") for band in bands if isinstance(band, dict)] if isinstance(bands, list) else []
    return Offer(start=start, end=end, bands=tuple(name for name in names if isinstance(name, str)))


def _read_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
