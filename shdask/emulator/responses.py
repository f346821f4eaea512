"""Answers of the service's routes: as JSON, and what becomes of one that is refused or fails.

Refuses to know what they say.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from typing import Any

from starlette.responses import Response

from shdask.emulator.account.limits import Limited
from shdask.emulator.refusal import Refusal

logger = logging.getLogger(__name__)


def answer_json(body: Any, status: int = 200) -> Response:
    """``body`` as JSON."""
    return Response(json.dumps(body), status_code=status, media_type="application/json")


def turn_away(limited: Limited) -> Response:
    """The answer to a call that a policy turned away."""
    response = answer_json(limited.body, limited.status)
    response.headers.update(limited.headers)
    return response


async def answer_call(answer: Awaitable[Response], latency_s: float) -> Response:
    """``answer``, or the error in its place; sleeps the configured latency before either."""
    try:
        response = await answer
    except Refusal as refusal:
        response = answer_json(refusal.body(), refusal.status)
    except Exception:
        logger.exception("the emulator failed to answer")
        failure = Refusal(500, "RENDERER_EXCEPTION", "The emulator failed; its own log says how.")
        response = answer_json(failure.body(), failure.status)
    if latency_s:
        await asyncio.sleep(latency_s)
    return response
