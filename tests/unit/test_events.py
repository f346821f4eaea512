"""One JSON line for each thing that happens in a build."""

from __future__ import annotations

import io
import json

import pytest

from shdask.errors import QuotaExhausted, SettingsError
from shdask.events import EventLog, open_event_log
from shdask.model import TileEvent, TileState
from shdask.plan.cube import make_cube_plan
from shdask.report import Progress
from tests.unit.assemble.conftest import small_plan

PROGRESS = Progress(tiles=8, done=1, failed=0, requests=2, rejected=1, pu_spent=0.5, pu_projected=1.0, seconds=3.0,
                    requests_per_minute=40.0, remaining_s=None, waiting_for="answers", max_pu=5.0)  # fmt: skip


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def told(stream: io.StringIO) -> list[dict[str, object]]:
    """What each line says, without its time."""
    return [{**json.loads(line), "time": None} for line in stream.getvalue().splitlines()]


def test_every_line_has_a_name_and_a_time_in_utc(stream) -> None:
    """ISO 8601 with milliseconds."""
    EventLog(stream).started(make_cube_plan({"": small_plan()}), "/cubes/a", max_pu=None, job="/jobs/job.toml")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["tiles"], line["job"]) == ("started", 8, "/jobs/job.toml")
    assert line["time"].endswith("Z")
    assert len(line["time"]) == len("2026-11-22T19:41:17.195Z")


def test_a_tile_is_told_by_what_differs_from_nothing(stream) -> None:
    """Its state as a word, and the digest of its request."""
    EventLog(stream).tile(TileEvent(tile=3, state=TileState.FAILED, requests=2, error="cut", request="abc"))
    assert told(stream) == [
        {"event": "tile", "time": None, "tile": 3, "state": "failed", "requests": 2, "error": "cut", "request": "abc"}
    ]


def test_progress_is_told_every_ten_seconds(stream) -> None:
    """However often it is heard of."""
    log = EventLog(stream)
    log.progress(PROGRESS)
    log.progress(PROGRESS)
    (line,) = told(stream)
    assert (line["event"], line["waiting_for"], line["max_pu"]) == ("progress", "answers", 5.0)


def test_a_stop_is_told_with_its_exit_code_and_when_to_go_on(stream) -> None:
    """For whoever starts the build again."""
    EventLog(stream).stopped(QuotaExhausted("used up", resume_at="2026-12-01T00:00:00Z"))
    assert told(stream) == [
        {"event": "stopped", "time": None, "error": "QuotaExhausted: used up", "exit_code": 4,
         "resume_at": "2026-12-01T00:00:00Z"}
    ]  # fmt: skip


def test_an_interrupt_is_told_with_its_exit_code(stream) -> None:
    """As the command line ends."""
    EventLog(stream).stopped(KeyboardInterrupt())
    assert told(stream) == [{"event": "stopped", "time": None, "error": "KeyboardInterrupt", "exit_code": 130}]


def test_a_file_is_continued(tmp_path) -> None:
    """The runs of one cube may share one."""
    file = tmp_path / "events.jsonl"
    file.write_text('{"event":"finished"}\n')
    with open_event_log(str(file)) as log:
        log.stopped(KeyboardInterrupt())
    assert file.read_text().count("\n") == 2


def test_a_dash_is_stderr(capsys) -> None:
    """Stdout is for the answer."""
    with open_event_log("-") as log:
        log.progress(PROGRESS)
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "progress"


def test_without_a_target_nothing_is_written(capsys) -> None:
    """The default."""
    with open_event_log(None) as log:
        log.progress(PROGRESS)
    assert capsys.readouterr() == ("", "")


def test_a_line_that_cannot_be_written_holds_nothing_up(caplog) -> None:
    """A full disk under the log is no reason to stop buying; it is said once, and closing the file is no error."""
    with open_event_log("/dev/full") as log:
        log.stopped(KeyboardInterrupt())
        log.stopped(KeyboardInterrupt())
    assert [record.message for record in caplog.records] == ["no more events are written: No space left on device"]


def test_a_file_that_cannot_be_opened_is_refused(tmp_path) -> None:
    """Before anything is sent."""
    with pytest.raises(SettingsError, match=r"--events .*: Is a directory; name a file that can be written"), \
            open_event_log(str(tmp_path)):  # fmt: skip
        pass
