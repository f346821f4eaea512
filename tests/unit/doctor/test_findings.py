"""How findings add up, and how they are told."""

from __future__ import annotations

import json

from shdask.doctor.findings import Diagnosis, Finding
from shdask.errors import AuthError, PlanError

GOOD = Finding(check="clock", outcome="ok", found="fine")
ODD = Finding(check="rates", outcome="warning", found="odd", cure="write more")


def diagnosis(*findings: Finding) -> Diagnosis:
    return Diagnosis(findings=findings, requests=2, pu_spent=0.0167)


def test_warnings_are_no_failure() -> None:
    """A build would run."""
    assert diagnosis(GOOD, ODD).exit_code == 0


def test_the_first_failure_decides() -> None:
    """Later ones may follow from it."""
    login = Finding.of_error("login", AuthError("refused; try again"))
    job = Finding.of_error("job", PlanError("wrong"))
    assert (diagnosis(GOOD, login, job).exit_code, diagnosis(job, login).exit_code) == (3, 2)


def test_an_errors_last_clause_is_its_cure() -> None:
    """As messages are written here; one without keeps its words."""
    told, silent = Finding.of_error("a", AuthError("x; y; set z")), Finding.of_error("a", AuthError("just so"))
    assert (told.found, told.cure) == ("x; y", "set z")
    assert (silent.found, silent.cure) == ("just so", "")


def test_people_read_aligned_lines() -> None:
    """Outcome, check, what was found; the cure below; and the price at the end."""
    bands = Finding(check="bands", layer="s2", outcome="failed", found="no\nnone", cure="mend", exit_code=2)
    assert str(diagnosis(GOOD, bands)).splitlines() == [
        "ok       clock       fine",
        "failed   bands of s2 no",
        "                     none",
        "                     -> mend",
        "looking cost 0.0167 PU in 2 requests",
    ]


def test_a_diagnosis_becomes_json() -> None:
    """With the exit code that the command ends with."""
    told = json.loads(json.dumps(diagnosis(ODD).as_dict()))
    assert told == {
        "findings": [
            {
                "check": "rates",
                "outcome": "warning",
                "found": "odd",
                "cure": "write more",
                "layer": None,
                "exit_code": 0,
            }
        ],
        "requests": 2,
        "pu_spent": 0.0167,
        "exit_code": 0,
    }
