"""What a terminal is told, and what the ledger is told of it."""

from __future__ import annotations

import pytest

from shdask.display import capped


@pytest.mark.parametrize(
    ("max_pu", "words"), [(None, ()), (1234567.0, ("--max-pu", "1234567.0")), (12345.67, ("--max-pu", "12345.67"))]
)
def test_cap_is_kept_as_it_is(max_pu, words) -> None:
    """The command that continues has the cap of the one before it, not one that is nearly so."""
    assert capped(max_pu) == words
