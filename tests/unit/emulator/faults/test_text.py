"""Rules as people write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.faults.rules import KINDS, Fault
from shdask.emulator.faults.text import parse_faults, read_faults


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ()),
        ("401", (Fault(kind="401"),)),
        ("503:0.05, reset:.01", (Fault(kind="503", probability=0.05), Fault(kind="reset", probability=0.01))),
        ("429=absurd:0.02", (Fault(kind="429", retry_after="absurd", probability=0.02),)),
        ("502=html", (Fault(kind="502", page="html"),)),
        ("delay=2.5", (Fault(kind="delay", delay_s=2.5),)),
        ("drip=1000x2", (Fault(kind="drip", nbytes_per_s=1000.0, times=2),)),
        ("cut=0.9@3", (Fault(kind="cut", at=0.9, first=3, last=3),)),
        ("503@2-4", (Fault(kind="503", first=2, last=4),)),
        ("503@2-", (Fault(kind="503", first=2),)),
        ("hang@every20", (Fault(kind="hang", every=20),)),
        ("token/503=html:0.5@2-9x3", (
            Fault(kind="503", service="token", page="html", probability=0.5, first=2, last=9, times=3),
        )),
        ("any/reset-body:0.1", (Fault(kind="reset-body", service="any", probability=0.1),)),
    ],
)  # fmt: skip
def test_a_short_text_says_what_to_do(text, faults):
    """Service, kind, value, probability, calls and times each have their place."""
    assert read_faults(text) == faults


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("503,bogus", "the fault 'bogus': kind: there is no kind 'bogus'; there are 500, 502, 503, 504, 429, "),
        ("503:", "the fault '503:' cannot be read; its form is "),
        ("503:1.5", "the fault '503:1.5': probability: Input should be less than or equal to 1"),
        ("503=xml", "the fault '503=xml' cannot be read"),
        ("503=page", "page: Input should be 'json' or 'html'"),
        ("reset=3", "the fault 'reset=3': reset takes no value"),
        ("cut=1", "at: Input should be less than 1"),
        ("503@5-3", "the last call, 3, comes before the first, 5"),
        ("503@0", "first: Input should be greater than or equal to 1"),
        ("drip=0", "nbytes_per_s: Input should be greater than 0"),
        ("drip=nan", "nbytes_per_s: "),
        ("oauth/503", "service: Input should be 'process', 'token'"),
        ([{"kind": "503"}, {"kind": "cut", "delay_s": 3}], "fault 2: cut has no delay_s"),
        ([{"kind": "503", "chance": 0.1}], "fault 1: chance: Extra inputs are not permitted"),
        ([{"kind": "cut", "charged": False}], "fault 1: cut is made of the real answer, which is charged"),
        ([{}], "fault 1: kind: Field required"),
        (["503"], "fault 1: "),
        (7, "faults are a text, a rule or a list of rules, not int"),
        ("missing.json", "the faults in missing.json cannot be read: No such file"),
    ],
)
def test_what_is_no_rule_is_refused_by_name(rules, message):
    """The rule is named, and what is wrong with it."""
    with pytest.raises(ValueError, match=re.escape(message)):
        read_faults(rules)


def test_a_rule_says_everything_as_a_mapping():
    """What a short text has no room for can be said in JSON; a status may be a number."""
    rule = {"kind": 503, "contains": "500000", "after_s": 1, "for_s": 2, "charged": True, "every": 2, "first": 4}
    assert parse_faults(rule) == (
        Fault(kind="503", contains="500000", after_s=1.0, for_s=2.0, charged=True, every=2, first=4),
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rules.json", '[{"kind": "reset", "times": 1}, {"kind": "503"}]'),
        ("named.json", '{"faults": [{"kind": "reset", "times": 1}, {"kind": "503"}]}'),
        ("rules.toml", '[[faults]]\nkind = "reset"\ntimes = 1\n[[faults]]\nkind = 503\n'),
    ],
)
def test_rules_can_be_read_from_a_file(tmp_path, name, content):
    """JSON and TOML hold the same rules."""
    path = tmp_path / name
    path.write_text(content)
    assert read_faults(str(path)) == (Fault(kind="reset", times=1), Fault(kind="503"))


def test_a_broken_file_is_refused_by_its_name(tmp_path):
    """What is no TOML is not taken for a short text."""
    path = tmp_path / "rules.toml"
    path.write_text("503:0.05")
    with pytest.raises(ValueError, match=r"rules\.toml cannot be read"):
        read_faults(str(path))


def test_rules_from_a_call_read_no_file(tmp_path):
    """A path is no rule where rules come over HTTP."""
    path = tmp_path / "rules.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match="cannot be read; its form is"):
        parse_faults(str(path))


CALLS = st.tuples(
    st.sampled_from([name for name, kind in KINDS.items() if not kind.job]),
    st.sampled_from(["process", "token", "catalog", "async", "account", "any"]),
)
JOBS = st.tuples(st.sampled_from([name for name, kind in KINDS.items() if kind.job]), st.just("job"))


@given(
    st.builds(
        lambda what, **rule: Fault(kind=what[0], service=what[1], **rule),
        CALLS | JOBS,
        probability=st.floats(0, 1),
        first=st.integers(1, 9),
        last=st.none() | st.integers(9, 20),
        every=st.integers(1, 5),
        times=st.none() | st.integers(1, 5),
        for_s=st.none() | st.floats(0.1, 10),
    )
)
def test_what_a_rule_tells_is_the_rule(fault):
    """A rule that is shown can be set again."""
    assert parse_faults(fault.told()) == (fault,)


def test_what_befalls_jobs_needs_no_service():
    """It has one of its own, which may be named."""
    assert parse_faults("slow=2:0.5,job/fail@3") == (
        Fault(kind="slow", service="job", delay_s=2.0, probability=0.5),
        Fault(kind="fail", service="job", first=3, last=3),
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "fail", "service": "async"}, "fail befalls jobs alone"),
        ({"kind": "503", "service": "job"}, "503 befalls no job"),
        ({"kind": "vanish", "charged": True}, "vanish befalls a job"),
        ({"kind": "vanish", "delay_s": 3}, "vanish has no delay_s"),
    ],
)
def test_calls_and_jobs_are_kept_apart(rule, message):
    """A rule for one is none for the other."""
    with pytest.raises(ValueError, match=message):
        parse_faults(rule)
