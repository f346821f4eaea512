"""What jobs cost, and when."""

from __future__ import annotations

import pytest

from tests.contract.emulator.async_process.conftest import make_order

LARGE = {"output.width": 3000, "output.height": 3000, "input.bounds.bbox": [500000, 5000000, 530000, 5030000]}
PROCESS_PU = 3000 * 3000 / 512**2 / 3
"""Of one band."""


def test_the_least_price_is_ten(submitter, prefix):
    """Charged when the job is accepted."""
    submitter.emulator.set_faults("slow=60")
    submitter.started(make_order(prefix))
    assert submitter.emulator.stats()["pu_charged"] == 10.0


def test_above_it_a_job_costs_what_process_costs(submitter, prefix):
    """By default; the price is told with the job."""
    job = submitter.run(make_order(prefix, **LARGE))
    assert (job["pu"], job["width"]) == (pytest.approx(PROCESS_PU), 3000)


def test_a_discount_may_be_switched_on(launch, prefix):
    """Two thirds."""
    job = launch(async_discount=True).run(make_order(prefix, **LARGE))
    assert job["pu"] == 10.0
    assert PROCESS_PU * 2 / 3 < 10.0 < PROCESS_PU


def test_the_floor_may_come_before_the_discount(launch, prefix):
    """Then a job may cost less than ten."""
    job = launch(async_discount=True, async_floor="before").run(make_order(prefix, **LARGE))
    assert job["pu"] == pytest.approx(PROCESS_PU * 2 / 3)


def test_a_failed_job_is_paid_for(submitter, prefix):
    """As what was accepted is, by default."""
    submitter.emulator.set_faults("fail")
    submitter.run(make_order(prefix))
    assert submitter.emulator.stats()["pu_charged"] == 10.0


def test_only_what_is_delivered_may_be_paid_for(launch, prefix):
    """Where the switch is set."""
    submitter = launch(async_pu_taken="done", faults="fail@1,vanish@2")
    jobs = [submitter.run(make_order(prefix)) for _ in range(3)]
    assert [job["state"] for job in jobs] == ["failed", "vanished", "delivered"]
    assert submitter.emulator.stats()["pu_charged"] == 10.0


def test_a_job_dearer_than_a_minute_is_accepted(launch, prefix):
    """The minute's limit is not for jobs, unless it is said to be."""
    assert launch(pu_per_minute=5).submit(make_order(prefix)).status_code == 200
    answer = launch(pu_per_minute=5, async_pu_buckets="all").submit(make_order(prefix))
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY")


def test_a_month_used_up_takes_no_job(launch, prefix):
    """403, as for Process."""
    submitter = launch(pu_per_month=15)
    statuses = [submitter.submit(make_order(prefix)) for _ in range(2)]
    assert [answer.status_code for answer in statuses] == [200, 403]
    assert statuses[1].json()["error"]["code"] == "ACCESS_INSUFFICIENT_PROCESSING_UNITS"
