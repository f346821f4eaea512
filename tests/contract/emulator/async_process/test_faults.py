"""Jobs that go wrong on purpose: slow, failing, vanishing, delivering before or after they end."""

from __future__ import annotations

import pytest
import requests

from tests.contract.emulator.async_process.conftest import make_order


def test_a_slow_job_runs_on(submitter, bucket, prefix):
    """It is told of as running, and delivers nothing before its time."""
    submitter.emulator.set_faults("slow=60")
    job_id = submitter.started(make_order(prefix))
    submitter.wait(job_id, lambda job: job["state"] == "running")
    assert submitter.status(job_id).json() == {"id": job_id, "status": "RUNNING"}
    assert bucket.names(prefix) == [f"{job_id}/request.json"]


def test_a_failing_job_leaves_an_error_and_no_file(submitter, bucket, prefix):
    """By its number, and no other one."""
    submitter.emulator.set_faults("fail@2")
    first, second = submitter.run(make_order(f"{prefix}/a")), submitter.run(make_order(f"{prefix}/b"))
    assert (first["state"], second["state"], second["faults"]) == ("delivered", "failed", ["fail"])
    assert bucket.names(f"{prefix}/b/{second['id']}") == ["error.json", "request.json"]
    assert bucket.json(f"{prefix}/b/{second['id']}/error.json") == {
        "message": "The job failed: the storage did not answer."
    }


def test_a_vanishing_job_leaves_nothing(submitter, bucket, prefix):
    """It is over, and neither file nor error ever appears."""
    submitter.emulator.set_faults("vanish")
    job = submitter.run(make_order(prefix))
    assert (job["state"], submitter.status(job["id"]).status_code) == ("vanished", 404)
    assert bucket.names(prefix) == [f"{job['id']}/request.json"]


def test_files_may_be_there_before_the_end(submitter, bucket, prefix):
    """While the job still runs."""
    submitter.emulator.set_faults("early=60")
    job_id = submitter.started(make_order(prefix))
    submitter.wait(job_id, lambda _: f"{job_id}/default.tif" in bucket.names(prefix))
    assert submitter.status(job_id).status_code == 200


def test_files_may_be_there_only_after_the_end(submitter, bucket, prefix):
    """The job is unknown already, and delivers later."""
    submitter.emulator.set_faults("late=1")
    job_id = submitter.started(make_order(prefix))
    submitter.wait(job_id, lambda job: not job["alive"])
    assert (submitter.status(job_id).status_code, bucket.names(prefix)) == (404, [f"{job_id}/request.json"])
    submitter.wait(job_id)
    assert bucket.names(prefix) == [f"{job_id}/default.tif", f"{job_id}/request.json"]


def test_an_error_may_be_late_too(submitter, bucket, prefix):
    """Several faults may befall one job."""
    submitter.emulator.set_faults("fail,late=1")
    job_id = submitter.started(make_order(prefix))
    assert submitter.wait(job_id, lambda job: not job["alive"])["faults"] == ["fail", "late"]
    assert bucket.names(prefix) == [f"{job_id}/request.json"]
    submitter.wait(job_id)
    assert bucket.names(prefix) == [f"{job_id}/error.json", f"{job_id}/request.json"]


def test_an_answer_may_be_lost_after_the_job_was_accepted(submitter, bucket, prefix):
    """The client knows nothing of a job that runs and is paid for."""
    submitter.emulator.set_faults(
        [{"kind": "reset", "service": "async", "contains": "delivery", "charged": True, "times": 1}]
    )
    with pytest.raises(requests.ConnectionError):
        submitter.submit(make_order(prefix))
    (job,) = submitter.emulator.jobs()[-1:]
    submitter.wait(job["id"])
    assert bucket.names(prefix) == [f"{job['id']}/default.tif", f"{job['id']}/request.json"]
    assert submitter.emulator.stats()["pu_charged"] == 10.0


def test_a_share_of_many_jobs_fails(submitter, prefix):
    """The same jobs under the same seed, counted by state and by fault."""
    submitter.emulator.set_faults("fail:0.3,vanish:0.2")
    jobs = [submitter.started(make_order(prefix)) for _ in range(10)]
    states = [submitter.wait(job_id)["state"] for job_id in jobs]
    stats = submitter.emulator.stats()
    assert states.count("failed") + states.count("vanished") > 1
    assert stats["jobs"]["failed"] == states.count("failed")
    assert stats["jobs"]["vanished"] == states.count("vanished") == stats["faults"]["vanish"]
    assert stats["jobs"]["delivered"] == states.count("delivered") > 1


def test_jobs_wait_for_their_turn(launch, prefix):
    """For as long as is configured."""
    submitter = launch(async_queue_s=60)
    job_id = submitter.started(make_order(prefix))
    assert (submitter.job(job_id)["state"], submitter.status(job_id).status_code) == ("queued", 200)
    assert submitter.emulator.stats()["jobs"]["queued"] == 1


def test_an_emulator_ends_with_jobs_under_way(launch, prefix):
    """They are given up, in less time than they would take."""
    submitter = launch(faults="slow=1000")
    assert submitter.started(make_order(prefix))
