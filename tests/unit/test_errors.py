"""The promises of the error tree: what is retryable, and that errors travel between processes whole."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from shdask import errors
from shdask.errors import BuildError, QuotaExhausted, RateLimited, ServiceError, ShdaskError, TransportError

SERVICE_ERRORS = [
    errors.ServiceError,
    errors.RequestRejected,
    errors.AuthError,
    errors.TokenRejected,
    errors.QuotaExhausted,
    errors.ServiceUnavailable,
    errors.ServiceDown,
]
PLAIN_ERRORS = [
    errors.ShdaskError,
    errors.PlanError,
    errors.SettingsError,
    errors.TransportError,
    errors.DecodeError,
    errors.SpoiltDelivery,
    errors.StoreError,
    errors.StoreUnavailable,
    errors.WrongStore,
    errors.CubeOwned,
    errors.SchedulerLost,
    errors.BudgetExceeded,
]
JOB_ERRORS = [
    errors.JobError,
    errors.JobFailed,
    errors.JobVanished,
    errors.JobDeliveredNothing,
    errors.JobTooLate,
]
EXAMPLES = [
    *(kind("what happened") for kind in PLAIN_ERRORS),
    *(kind("what happened", 418, "COMMON_TEAPOT") for kind in SERVICE_ERRORS),
    RateLimited("what happened", 429, "RATE_LIMIT_EXCEEDED", 2.5),
    QuotaExhausted("what happened", 403, "ACCESS_INSUFFICIENT_PROCESSING_UNITS", "2026-12-01T00:00:00Z"),
    TransportError("what happened", may_be_charged=True),
    errors.JobQueueFull("what happened", 429, "RATE_LIMIT_EXCEEDED", 2.5),
    errors.JobSubmitLost("what happened", may_be_charged=True),
    *(kind("what happened", "8ea4f0b2") for kind in JOB_ERRORS),
    BuildError("what happened", {3: "DecodeError: cut"}),
]


def _name(error: ShdaskError) -> str:
    return type(error).__name__


FAMILY = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ShdaskError)}


def _travel(error: ShdaskError) -> ShdaskError:
    travelled: ShdaskError = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    return travelled


def test_every_error_has_an_example_here():
    """A new error class cannot escape the tests below."""
    assert {type(error) for error in EXAMPLES} == FAMILY


@pytest.mark.parametrize("travel", [_travel, copy.copy], ids=["pickle", "copy"])
@pytest.mark.parametrize("error", EXAMPLES, ids=_name)
def test_an_error_travels_with_its_fields_and_notes(error: ShdaskError, travel: Callable[[ShdaskError], ShdaskError]):
    """Class, text, fields and notes arrive, so that a worker's failure reads the same in the client."""
    sent = copy.copy(error)
    sent.add_note("tile 7")
    arrived = travel(sent)
    assert type(arrived) is type(sent)
    assert str(arrived) == "what happened"
    fields = {name: value for name, value in vars(sent).items() if name != "__notes__"}
    assert {name: vars(arrived)[name] for name in fields} == fields
    # tblib, which Dask installs for every exception in the process, brings notes twice
    assert set(arrived.__notes__) == {"tile 7"}


@pytest.mark.parametrize("error", EXAMPLES, ids=_name)
def test_a_message_is_all_that_str_shows(error: ShdaskError):
    """Status, code and advice are fields; a log line shows the sentence only."""
    assert str(error) == "what happened"


def test_service_fields_are_optional():
    """A room that knows no status can still raise the class."""
    assert vars(ServiceError("no")) == {"message": "no", "status": None, "code": None}


def test_exactly_these_errors_are_worth_another_try():
    """The only retry rule: a class attribute."""
    assert {kind.__name__ for kind in FAMILY if kind.retryable} == {
        "RateLimited",
        "ServiceUnavailable",
        "TokenRejected",
        "TransportError",
        "DecodeError",
        "StoreUnavailable",
    }


def test_exactly_these_errors_stop_a_build():
    """They hold for every other tile too."""
    assert {kind.__name__ for kind in FAMILY if kind.stops_build} == {
        "RequestRejected",
        "AuthError",
        "TokenRejected",
        "QuotaExhausted",
        "ServiceDown",
        "StoreError",
        "StoreUnavailable",
        "WrongStore",
        "CubeOwned",
        "BudgetExceeded",
    }
