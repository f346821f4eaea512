"""A worker's part of a build, without a cluster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import shdask
from shdask.cluster import worker_plugin
from shdask.cluster.patience import Patience
from shdask.cluster.telling import unpack_tiles
from shdask.cluster.worker_plugin import TileWorker
from shdask.errors import BudgetExceeded, BuildError, StoreError
from shdask.model import TileEvent, TileState
from shdask.run_tiles import TileOutcome, TileWork
from tests.cluster.specs import earth_spec
from tests.unit.timed import along_days, everywhere


class PlayedDesk:
    """A scheduler that gives every tile, or what it is told to, and writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.answers: list[Any] = []
        self.told: list[tuple[str, int]] = []

    def __call__(self, _worker: object, handler: str, **words: Any) -> Any:
        """Stands for ``ask_scheduler``."""
        self.heard.append((handler, words.get("tiles")))
        if handler == "log_event":
            self.told += [("asked", tile) for tile in unpack_tiles(words["msg"])]
        if handler != "shdask_take":
            return None
        return self.answers.pop(0) if self.answers else {"run": words["tiles"], "wait": [], "workers": 1}

    def of(self, handler: str) -> list[Any]:
        """The tiles of each call of a handler."""
        return [tiles for name, tiles in self.heard if name == handler]

    async def shdask_leave(self, **words: Any) -> None:
        """Hears which tiles are in flight."""
        self.heard.append(("shdask_leave", words["tiles"]))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> PlayedDesk:
    """Stands for the scheduler."""
    desk = PlayedDesk()
    monkeypatch.setattr(worker_plugin, "ask_scheduler", desk)
    return desk


@pytest.fixture
def worker(desk: PlayedDesk) -> SimpleNamespace:
    """Stands for the Dask worker."""

    def log_event(_topic: str, message: bytes) -> None:
        desk.told += [("stream", tile) for tile in unpack_tiles(message)]

    loop = SimpleNamespace(add_callback=lambda call, *words: call(*words), call_later=lambda _seconds, call: call())
    memory = SimpleNamespace(memory_limit=None)
    words = {
        "log_event": log_event,
        "loop": loop,
        "metrics": {},
        "memory_manager": memory,
        "plugins": {},
        "state": SimpleNamespace(nthreads=4),
    }
    return SimpleNamespace(address="tcp://here", scheduler=desk, **words)


@pytest.fixture
def part(worker, monkeypatch):
    """The part of one fetch thread, set up."""
    monkeypatch.setattr(worker_plugin, "fetch_threads", lambda _deployment, _workers: 1)
    monkeypatch.setattr(worker_plugin, "end_well", lambda _worker: None)
    patience = Patience(stuck_s=0.2)
    plugin = TileWorker(build="b", account="a", plan=shdask.make_plan(earth_spec()).only, cube=None, patience=patience)
    plugin.setup(worker)
    yield plugin
    end(plugin, worker)


def end(part: TileWorker, worker: SimpleNamespace) -> None:
    asyncio.run(part.teardown(worker))


def test_batch_ends_when_the_part_is_taken_away(part, worker, desk, monkeypatch) -> None:
    """A task does not wait for tiles that are never started: its thread belongs to the user's cluster."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(_work: TileWork, _index: int) -> None:
        begun.set()
        go_on.wait(10)

    tile_that(wait, monkeypatch)
    results = []
    task = threading.Thread(target=lambda: results.append(part.run_batch([0, 1, 2])), daemon=True)
    task.start()
    begun.wait(10)
    end(part, worker)
    go_on.set()
    task.join(10)
    assert [[event.tile for event in result.events] for result in results] == [[0]]
    assert desk.of("shdask_give_back") == [[1, 2]]


def test_tile_in_flight_is_decoded_after_the_part_is_taken_away(part, worker) -> None:
    """What was paid for is still written."""
    end(part, worker)
    assert part._work.run_cpu(lambda: 7) == 7


def test_retry_does_not_outlive_the_build(part, worker) -> None:
    """A tile that waits to ask again gives up when its build is over."""
    end(part, worker)
    with pytest.raises(BuildError, match="ended"):
        part._work.client._sleep(30.0)


def test_fatal_outcome_stops_the_rest_of_the_batch(part, monkeypatch) -> None:
    """After an error that holds for every tile no further one is started."""
    refused = StoreError("full")

    def run_tiles(_work: TileWork, indices: Sequence[int]) -> list[TileOutcome]:
        return [TileOutcome(event=TileEvent(tile=index, state=TileState.FAILED), fatal=refused) for index in indices]

    monkeypatch.setattr(worker_plugin, "run_tiles", run_tiles)
    result = part.run_batch([0, 1, 2])
    assert ([event.tile for event in result.events], result.fatal) == ([0], refused)


def refuse_under_cap(sent: set[int], monkeypatch: pytest.MonkeyPatch) -> BudgetExceeded:
    """Let a cap refuse every tile, of which only ``sent`` had requests before."""
    refused = BudgetExceeded("the next request costs 1 PU")

    def run_tiles(_work: TileWork, indices: Sequence[int]) -> list[TileOutcome]:
        events = [TileEvent(tile=each, state=TileState.FAILED, requests=int(each in sent)) for each in indices]
        return [TileOutcome(event=event, fatal=refused) for event in events]

    monkeypatch.setattr(worker_plugin, "run_tiles", run_tiles)
    return refused


def test_a_tile_that_the_cap_refuses_stays_untried(part, desk, monkeypatch) -> None:
    """Nobody is told that it failed; the batch says what stops the build, and the others are not begun."""
    refused = refuse_under_cap(set(), monkeypatch)
    result = part.run_batch([0, 1, 2])
    assert (result.events, result.fatal) == ((), refused)
    assert (desk.told, desk.of("shdask_give_back")) == ([], [[0, 1, 2]])


def test_a_tile_that_the_cap_refuses_half_way_has_failed(part, desk, monkeypatch) -> None:
    """Something was sent for it, which its row must say."""
    refused = refuse_under_cap({0}, monkeypatch)
    result = part.run_batch([0, 1, 2])
    assert ([event.tile for event in result.events], result.fatal) == ([0], refused)


def test_what_has_a_promise_counts_as_sent(part) -> None:
    """A permit alone is not enough: the cap may say no."""
    client = part._work.client
    with part._flights.fly([7]):
        client._gate._permits.append((time.monotonic(), 1.0))
        client._gate.acquire(1.0)
        assert part._flights.sent() == []
        client._budget.reserve(1.0)
        assert part._flights.sent() == [7]


def test_what_asks_for_a_promise_is_told_by_a_worker_that_ends(part, monkeypatch) -> None:
    """From the moment that it may be sent; a refusal takes that back."""
    budget, flights, seen = part._work.client._budget, part._flights, []
    answers = [None, 7]
    budget._inner = SimpleNamespace(reserve=lambda _pu: (seen.append(flights.sent()), answers.pop(0))[1])
    with flights.fly([7]):
        assert (budget.reserve(1.0), flights.sent()) == (None, [])
        assert (budget.reserve(1.0), flights.sent()) == (7, [7])
    assert seen == [[7], [7]]


def test_a_stopped_part_reserves_nothing_new(part) -> None:
    """Only what was sent goes on."""
    with part._flights.fly([7]):
        part.stop()
        with pytest.raises(BuildError, match="ended"):
            part._work.client._budget.reserve(1.0)


def test_only_a_capped_build_asks_before_every_request(part, desk) -> None:
    """Without a cap no message is sent for it."""
    part._work.client._budget.settle(part._work.client._budget.reserve(1.0), 1.0)
    assert desk.heard == []


def tile_that(act: Callable[[TileWork, int], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each tile do this, and be written, or fail as it raises."""

    def run_tiles(work: TileWork, indices: Sequence[int]) -> list[TileOutcome]:
        try:
            [act(work, index) for index in indices]
        except BuildError as error:
            failed = [TileEvent(tile=index, state=TileState.FAILED, error=str(error)) for index in indices]
            return [TileOutcome(event=event) for event in failed]
        return [TileOutcome(event=TileEvent(tile=index, state=TileState.WRITTEN)) for index in indices]

    monkeypatch.setattr(worker_plugin, "run_tiles", run_tiles)


def test_tiles_that_were_heard_of_are_not_run_again(part, desk, monkeypatch) -> None:
    """A batch that a lost worker had begun buys only what nobody has bought."""
    ran: list[int] = []
    tile_that(lambda _work, index: ran.append(index), monkeypatch)
    desk.answers = [{"run": [2], "wait": [], "workers": 1}]
    result = part.run_batch([0, 1, 2])
    assert (ran, [event.tile for event in result.events]) == ([2], [2])


def test_tiles_in_other_hands_are_asked_for_again(part, desk, monkeypatch) -> None:
    """Once the worker that leaves has written its tile, or is dead, the rest is run."""
    ran: list[int] = []
    monkeypatch.setattr(worker_plugin, "ASK_AGAIN_S", 0.0)
    tile_that(lambda _work, index: ran.append(index), monkeypatch)
    wait = {"run": [], "wait": [1, 2], "workers": 1}
    desk.answers = [{"run": [0], "wait": [1, 2], "workers": 1}, wait, {"run": [2], "wait": [], "workers": 1}]
    part.run_batch([0, 1, 2])
    assert ran == [0, 2]
    assert desk.of("shdask_take") == [[0, 1, 2], [1, 2], [1, 2]]


def test_batch_of_a_build_that_is_over_runs_nothing(part, desk) -> None:
    """A task that outlived its owner buys nothing."""
    desk.answers = [None]
    assert part.run_batch([0, 1]).events == ()


def test_stuck_tile_is_given_up_and_the_batch_ends(part, desk, monkeypatch) -> None:
    """A tile without a sign of life holds up neither its batch nor the next tile, and buys nothing when it wakes up."""
    wake_up, woken = threading.Event(), []

    def act(work: TileWork, index: int) -> None:
        if index == 0:
            wake_up.wait(10)
            with pytest.raises(BuildError):
                work.client._gate.acquire(1.0)
            woken.append(index)

    tile_that(act, monkeypatch)
    result = part.run_batch([0, 1])
    wake_up.set()
    assert [event.tile for event in result.events] == [1]
    assert desk.of("shdask_give_back") == [[0]]
    part._fetch_pool.shutdown(wait=True)
    assert woken == [0]


def test_stopped_part_drops_what_was_not_sent(part, worker, desk, monkeypatch) -> None:
    """A tile that waits for its first permit when a build stops is neither bought nor failed."""
    waiting = threading.Event()

    def lease(_gate: object, _pu: float) -> float:
        waiting.set()
        part._pause(30.0)
        raise AssertionError("a permit was given")

    monkeypatch.setattr(worker_plugin.SchedulerGate, "acquire", lease)
    tile_that(lambda work, _index: work.client._gate.acquire(1.0), monkeypatch)
    results = []
    task = threading.Thread(target=lambda: results.append(part.run_batch([0])), daemon=True)
    task.start()
    waiting.wait(10)
    part.stop()
    task.join(10)
    assert [result.events for result in results] == [()]


def test_part_that_ends_lets_sent_tiles_be_written(part, worker, desk, monkeypatch) -> None:
    """The scheduler hears which tiles are in flight, the worker stays for them, and tells of them over a new call."""
    sent, answer = threading.Event(), threading.Event()

    def act(work: TileWork, _index: int) -> None:
        part._flights.mine.sent = True
        sent.set()
        answer.wait(10)

    tile_that(act, monkeypatch)
    part.patience = Patience()
    task = threading.Thread(target=part.run_batch, args=[[7]], daemon=True)
    task.start()
    sent.wait(10)
    ending = threading.Thread(target=end, args=[part, worker], daemon=True)
    ending.start()
    ending.join(0.3)
    assert ending.is_alive()
    answer.set()
    ending.join(10)
    assert not ending.is_alive()
    assert desk.of("shdask_leave") == [[7]]
    assert desk.told == [("asked", 7)]


def test_part_that_ends_waits_for_what_is_still_being_told(part, worker, desk, monkeypatch) -> None:
    """A tile that is written when its worker ends, and of which nobody has heard, would be counted as done before."""
    telling, go_on = threading.Event(), threading.Event()

    def log_event(_topic: str, message: bytes) -> None:
        telling.set()
        go_on.wait(10)
        desk.told += [("stream", tile) for tile in unpack_tiles(message)]

    worker.log_event = log_event
    tile_that(lambda _work, _index: setattr(part._flights.mine, "sent", True), monkeypatch)
    task = threading.Thread(target=part.run_batch, args=[[7]], daemon=True)
    task.start()
    telling.wait(10)
    ending = threading.Thread(target=end, args=[part, worker], daemon=True)
    ending.start()
    ending.join(0.3)
    assert ending.is_alive()
    go_on.set()
    ending.join(10)
    assert (ending.is_alive(), desk.told) == (False, [("stream", 7)])


def test_flights_hold_a_bounded_share_of_the_workers_memory(worker, desk, monkeypatch) -> None:
    """Half of it, whatever is in flight: a tile of 256 px, two bands and a mask as 16 bit numbers counts twice."""
    worker.memory_manager.memory_limit = 2 * 2 * 256 * 256 * 6
    monkeypatch.setattr(worker_plugin, "end_well", lambda _worker: None)
    plugin = TileWorker(
        build="b", account="a", plan=shdask.make_plan(earth_spec()).only, cube=None, patience=Patience()
    )
    plugin.setup(worker)
    first, landing, aloft = threading.Event(), threading.Event(), []

    def act(_work: TileWork, index: int) -> None:
        aloft.append(index)
        first.set()
        landing.wait(10)

    tile_that(act, monkeypatch)
    task = threading.Thread(target=plugin.run_batch, args=[[0, 1]], daemon=True)
    task.start()
    assert first.wait(10)
    landing.wait(0.1)
    assert len(aloft) == 1
    landing.set()
    task.join(10)
    assert sorted(aloft) == [0, 1]
    end(plugin, worker)


# Tiles that come with one request


@pytest.fixture
def dated(part) -> TileWorker:
    """The same part in a build of three days, two of which are bought together: tiles 0, 9 and 18 are one cell's."""
    plan = along_days(part.plan, everywhere(part.plan, 3), (0, 0, 1))
    part.plan = plan
    part._work = replace(part._work, plan=plan)
    return part


def test_tiles_of_a_bundle_are_run_together(dated, monkeypatch) -> None:
    """In one flight, whose tiles are told one by one."""
    ran: list[Sequence[int]] = []

    def run_tiles(_work: TileWork, indices: Sequence[int]) -> list[TileOutcome]:
        ran.append((tuple(indices), dated._flights.mine.tiles))
        return [TileOutcome(event=TileEvent(tile=index, state=TileState.WRITTEN)) for index in indices]

    monkeypatch.setattr(worker_plugin, "run_tiles", run_tiles)
    result = dated.run_batch([0, 9, 18, 3])
    assert sorted(ran) == [((0, 9), (0, 9)), ((3,), (3,)), ((18,), (18,))]
    assert [event.tile for event in result.events] == [0, 9, 18, 3]


def test_a_bundle_of_which_a_tile_is_in_other_hands_is_run_without_it(dated, desk, monkeypatch) -> None:
    """The rest is not held up, and nothing is bought twice."""
    ran: list[int] = []
    monkeypatch.setattr(worker_plugin, "ASK_AGAIN_S", 0.0)
    tile_that(lambda _work, index: ran.append(index), monkeypatch)
    desk.answers = [{"run": [9], "wait": [0], "workers": 1}]
    dated.run_batch([0, 9])
    assert (ran, desk.of("shdask_take")) == ([9, 0], [[0, 9], [0]])


def test_stuck_bundle_is_given_back_whole(dated, desk, monkeypatch) -> None:
    """All its tiles go to another worker."""
    wake_up = threading.Event()
    tile_that(lambda _work, index: wake_up.wait(10) if index == 0 else None, monkeypatch)
    result = dated.run_batch([0, 9, 18])
    wake_up.set()
    assert [event.tile for event in result.events] == [18]
    assert desk.of("shdask_give_back") == [[0, 9]]


def test_a_stopped_bundle_that_was_not_sent_keeps_what_it_found(dated, monkeypatch) -> None:
    """A durable tile is told; the one that had to be bought is neither bought nor failed."""

    def run_tiles(_work: TileWork, indices: Sequence[int]) -> list[TileOutcome]:
        dated.stop()
        found = TileEvent(tile=indices[0], state=TileState.WRITTEN, skipped=True)
        return [TileOutcome(event=found), TileOutcome(event=TileEvent(tile=indices[1], state=TileState.FAILED))]

    monkeypatch.setattr(worker_plugin, "run_tiles", run_tiles)
    assert [event.tile for event in dated.run_batch([0, 9]).events] == [0]


def test_a_stopped_row_that_waits_for_its_turn_is_no_error(dated, monkeypatch) -> None:
    """What stopped the others is what the build ends with."""

    def run_tiles(_work: TileWork, _indices: Sequence[int]) -> list[TileOutcome]:
        dated.stop()
        raise BuildError("the build has ended without this tile")

    monkeypatch.setattr(worker_plugin, "run_tiles", run_tiles)
    assert dated.run_batch([0, 9]).events == ()


def test_a_worker_that_ends_tells_all_tiles_of_a_sent_bundle(dated, worker, desk, monkeypatch) -> None:
    """Each may have been charged."""
    sent, answer = threading.Event(), threading.Event()

    def act(_work: TileWork, _index: int) -> None:
        dated._flights.mine.sent = True
        sent.set()
        answer.wait(10)

    tile_that(act, monkeypatch)
    dated.patience = Patience()
    task = threading.Thread(target=dated.run_batch, args=[[0, 9]], daemon=True)
    task.start()
    sent.wait(10)
    ending = threading.Thread(target=end, args=[dated, worker], daemon=True)
    ending.start()
    ending.join(0.3)
    answer.set()
    ending.join(10)
    assert desk.of("shdask_leave") == [[0, 9]]
    assert desk.told == [("asked", 0), ("asked", 9)]
