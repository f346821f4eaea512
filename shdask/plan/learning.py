"""What earlier runs let a plan expect: guessed prices are set right, and the rest is told.

Pure. Refuses to know where the figures of earlier runs are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from shdask.plan.cube import CubePlan, make_cube_plan
from shdask.plan.group import GroupPlan
from shdask.plan.layer import LayerPlan
from shdask.plan.measured import Measured, effective_rate
from shdask.settings import Deployment, may_use_plain_http

ALIKE = 0.01
"""Prices that differ by less are the same but for rounding: the service states them as 32 bit floats."""
LOOPBACK = "loopback"
_DIGEST_CHARS = 16


def learn_from(plan: CubePlan, known: Mapping[str, Measured]) -> CubePlan:
    """The plan with what earlier runs of its groups' kinds have shown, ``known`` by `kind_of`. Pure."""
    kinds = {path: kind_of(group.layer, group.deployment) for path, group in plan.groups.items()}
    measured = {path: known[kind] for path, kind in kinds.items() if kind in known}
    if not measured:
        return plan
    groups = {
        path: with_learned(group, measured[path]) if path in measured else group for path, group in plan.groups.items()
    }
    notes = (*plan.notes, *notes_of(groups, measured))
    return make_cube_plan(groups, max_pu=plan.max_pu, notes=notes, measured=measured)


def notes_of(groups: Mapping[str, GroupPlan], measured: Mapping[str, Measured]) -> tuple[str, ...]:
    """What is told of all ``groups`` of which something is known. Pure."""
    return tuple(
        f"{path}: {note}" if path else note
        for path, each in measured.items()
        for note in learned_notes(groups[path], each)
    )


def kind_of(layer: LayerPlan, deployment: Deployment) -> str:
    """What a layer's runs have in common with others: the service, its collections, and who wrote the script. Pure.

    All services of this machine are one, whatever their port, and no other's.
    """
    collections = "+".join(sorted({each.collection for each in layer.inputs}))
    scripts = "\0".join(part.script for part in layer.parts if part.script is not None)
    ours = next((f"composite {part.composite.method}" for part in layer.parts if part.composite), "bands")
    written = f"script {hashlib.sha256(scripts.encode()).hexdigest()[:_DIGEST_CHARS]}" if scripts else ours
    return f"{_place(deployment)} {collections} {written}"


def job_kind_of(layer: LayerPlan, deployment: Deployment) -> str:
    """`kind_of` of a layer's jobs of Async Process, which have a price and a duration of their own. Pure.

    Their answers are their files: ``Measured.latency_s`` is how long a job takes.
    """
    return f"{kind_of(layer, deployment)} jobs"


def _place(deployment: Deployment) -> str:
    parts = urlsplit(deployment.base_url)
    if may_use_plain_http(parts.hostname or "", {}):  # nobody has named it: it is this machine
        return LOOPBACK
    return parts.netloc.lower() + parts.path


def is_guessed(layer: LayerPlan) -> bool:
    """Whether the price hangs on how many scenes a script finds at a pixel, which nobody knows before. Pure."""
    return layer.mosaicking != "SIMPLE" and any(part.script is not None for part in layer.parts)


def with_learned(plan: GroupPlan, measured: Measured) -> GroupPlan:
    """The plan with a guessed price multiplied by what such guesses turned out to be worth, and its tiles cut anew.

    Cut as is cheapest at that price, and at the rate that answers so slow let through; the same plan where nothing of
    this changes. Pure.
    """
    account, learned, ratio = plan.deployment, plan, measured.pu_ratio
    if ratio is not None and is_guessed(plan.layer):
        inputs = tuple(replace(each, learned_ratio=ratio) for each in plan.layer.inputs)
        learned = replace(plan, layer=replace(plan.layer, inputs=inputs))
    rate = effective_rate(account, measured.latency_s)
    if learned is plan and rate >= account.requests_per_minute:
        return plan
    cut = replace(learned, deployment=replace(account, requests_per_minute=rate)).with_windows()
    return replace(cut, deployment=account)


def learned_notes(plan: GroupPlan, measured: Measured) -> tuple[str, ...]:
    """What earlier runs let expect of ``plan``, which `with_learned` has made, for the user to read. Pure."""
    if not measured.runs:
        return ()
    cost, told, warnings = plan.cost, [], []
    runs = f"{measured.runs} run{'s' if measured.runs > 1 else ''}"
    if measured.pu_ratio is not None and is_guessed(plan.layer):
        told.append(f"price x{measured.pu_ratio:.2f} of what is guessed, counted in")
    elif measured.pu_ratio is not None:
        told.append(f"price x{measured.pu_ratio:.2f} -> about {cost.pu * measured.pu_ratio:.2f} PU")
        if abs(measured.pu_ratio - 1) > ALIKE:
            warnings.append(
                f"the service charged {measured.pu_ratio:.2f} times the published formula in {runs}: "
                f"expect {cost.pu * measured.pu_ratio:.2f} PU, not {cost.pu:.2f}"
            )
    if measured.time_ratio is not None:
        minutes = cost.minutes * measured.time_ratio
        duration = f"{minutes:.1f} min" if minutes >= 1 else f"{minutes * 60:.1f} s"
        told.append(f"time x{measured.time_ratio:.2f} -> about {duration}")
    if measured.nbytes_ratio is not None:
        nbytes = cost.nbytes_down * measured.nbytes_ratio
        told.append(f"{measured.nbytes_ratio:.0%} of the bytes -> about {nbytes / 1e6:,.1f} MB")
    if measured.latency_s is not None:
        told.append(f"{measured.latency_s:.2f} s an answer")
        rate = effective_rate(plan.deployment, measured.latency_s)
        if rate < plan.deployment.requests_per_minute:
            warnings.append(f"answers of {measured.latency_s:.1f} s let no more than {rate:.0f} requests/min through")
    return (f"learned from {runs}: {'; '.join(told)}", *warnings) if told else ()
