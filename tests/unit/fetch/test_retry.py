"""The retry loop: the class decides, the clock bounds, the dice spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import (
    AuthError,
    DecodeError,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    ShdaskError,
    TokenRejected,
    TransportError,
)
from shdask.fetch.retry import RetryPolicy, call_with_retries

POLICY = RetryPolicy(max_retries=3, base_wait_s=1.0, max_wait_s=5.0, total_s=100.0)


class Script:
    """Raises the given errors one after the other, the last one for ever, or returns 'done' after them."""

    def __init__(self, *errors: ShdaskError, forever: bool = False) -> None:
        self.errors = list(errors)
        self.forever = forever
        self.calls = 0

    def __call__(self) -> str:
        """One attempt."""
        self.calls += 1
        if self.errors:
            raise self.errors[0] if self.forever else self.errors.pop(0)
        return "done"


@pytest.fixture
def run(clock: Any) -> Callable[..., str]:
    """Runs a script by the fake clock; the dice always show 0.5."""

    def call(script: Script, policy: RetryPolicy = POLICY, **options: Any) -> str:
        return call_with_retries(script, policy, clock=clock, sleep=clock.sleep, rng=lambda: 0.5, **options)

    return call


def test_a_success_is_returned_at_once(run: Callable[..., str], clock: Any):
    """No wait, one call."""
    assert run(Script()) == "done"
    assert clock.slept == []


def test_the_services_own_trouble_is_waited_out_ever_longer(run: Callable[..., str], clock: Any):
    """Half of 1, 2 and 4 s with dice at 0.5."""
    assert run(Script(ServiceUnavailable("a"), TransportError("b"), ServiceUnavailable("c"))) == "done"
    assert clock.slept == [0.5, 0.5, 1.0]


def test_the_backoff_has_a_ceiling(run: Callable[..., str], clock: Any):
    """Half of at most 5 s."""
    with pytest.raises(ServiceUnavailable):
        run(Script(ServiceUnavailable("a"), forever=True), RetryPolicy(max_retries=6, max_wait_s=5.0))
    assert clock.slept == [0.5, 1.0, 2.0, 2.5, 2.5, 2.5]


def test_the_backoff_grows_as_the_policy_says(run: Callable[..., str], clock: Any):
    """Half of 1, 3 and 9 s where each wait is thrice the last."""
    script = Script(*[ServiceUnavailable("503", 503)] * 3)
    run(script, RetryPolicy(max_retries=3, base_wait_s=1.0, growth=3.0))
    assert clock.slept == [0.5, 1.5, 4.5]


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 6))
def test_a_wait_is_anything_up_to_the_backoff(dice: float, retries: int):
    """Full jitter: clients that failed together do not come back together."""
    waits: list[float] = []
    script = Script(*[ServiceUnavailable("a")] * retries)
    call_with_retries(script, RetryPolicy(), clock=lambda: 0.0, sleep=waits.append, rng=lambda: dice)
    assert waits == pytest.approx([dice * min(30.0, 2.0**n) for n in range(retries)])


@pytest.mark.parametrize("error", [RequestRejected("no"), AuthError("no")])
def test_what_cannot_succeed_is_not_tried_again(run: Callable[..., str], error: ShdaskError):
    """A bad request is bought once, and carries no note about attempts."""
    script = Script(error, forever=True)
    with pytest.raises(type(error)) as caught:
        run(script)
    assert script.calls == 1
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize(
    ("error", "calls"), [(ServiceUnavailable("no"), 4), (DecodeError("no"), 3), (TokenRejected("no"), 6)]
)
def test_an_error_is_tried_as_often_as_its_class_says(run: Callable[..., str], error: ShdaskError, calls: int):
    """The policy's 3 retries, or the class's own 2 and 1; the last error comes out with what was tried."""
    script = Script(error, forever=True)
    with pytest.raises(type(error)) as caught:
        run(script)
    assert script.calls == calls
    assert caught.value.__notes__[0].startswith(f"given up after {calls} attempts in ")


def test_different_troubles_share_one_allowance(run: Callable[..., str]):
    """Cut connections and 503s in turn cannot go on for ever."""
    trouble = [TransportError("a"), ServiceUnavailable("b")] * 10
    script = Script(*trouble)
    with pytest.raises(TransportError):
        run(script, RetryPolicy(max_retries=4))
    assert script.calls == 5


def test_an_error_with_its_own_allowance_uses_up_no_other(run: Callable[..., str]):
    """Two unreadable pictures and a stale token leave all three retries for the service's trouble."""
    own = [DecodeError("a"), TokenRejected("b"), DecodeError("c")]
    assert run(Script(*own, *[ServiceUnavailable("d")] * 3)) == "done"


def test_a_refused_token_is_replaced_without_a_wait(run: Callable[..., str], clock: Any):
    """The renewal itself is all the delay there is."""
    assert run(Script(TokenRejected("a"))) == "done"
    assert clock.slept == [0.0]


def test_a_429_waits_as_advised_and_counts_for_nothing(run: Callable[..., str], clock: Any):
    """Ten 429s, where three failures would be the end."""
    assert run(Script(*[RateLimited("a", retry_after_s=2.5)] * 10)) == "done"
    assert clock.slept == [2.5] * 10


def test_a_429_without_advice_backs_off(run: Callable[..., str], clock: Any):
    """Half of 1, 2, 4 s and then of the ceiling."""
    assert run(Script(*[RateLimited("a")] * 5)) == "done"
    assert clock.slept == [0.5, 1.0, 2.0, 2.5, 2.5]


def test_429s_end_with_the_total_time(run: Callable[..., str], clock: Any):
    """No wait begins that would end after it."""
    with pytest.raises(RateLimited) as caught:
        run(Script(RateLimited("a", retry_after_s=30.0), forever=True))
    assert clock.slept == [30.0] * 3
    assert caught.value.__notes__ == ["given up after 4 attempts in 90.0 s"]


def test_a_thousand_429s_do_not_overflow(clock: Any):
    """The backoff's power of two is bounded."""
    policy = RetryPolicy(total_s=1e9)
    script = Script(*[RateLimited("a")] * 2000)
    assert call_with_retries(script, policy, clock=clock, sleep=clock.sleep, rng=lambda: 0.5) == "done"


def test_whoever_asks_hears_of_each_retry(run: Callable[..., str]):
    """The error and the wait, for a log; not of the error that is raised."""
    heard: list[tuple[str, float]] = []
    with pytest.raises(DecodeError):
        run(Script(DecodeError("cut"), forever=True), on_error=lambda error, wait_s: heard.append((str(error), wait_s)))
    assert heard == [("cut", 0.5), ("cut", 1.0)]


def test_a_fault_of_ours_passes_through():
    """Only errors raised on purpose are ruled by the loop."""
    with pytest.raises(ZeroDivisionError):
        call_with_retries(lambda: 1 // 0, POLICY)
