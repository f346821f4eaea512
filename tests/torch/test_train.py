"""The proof of `make train` in small: from a job to a map, and what stands beside the net."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import train as proof
from benchmarks.train_model import Linear, NearestMean, Net, accuracy, class_ious, count_pairs, train
from shdask.patches.table import Patch
from tests.unit.assemble.conftest import small_plan
from tests.unit.patches.rows import make_patches


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow where others compute as well."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_batches(count: int) -> list[dict[str, Any]]:
    """Two dates of a band; class 1 where the first date is above 0, which is not clear in a corner."""
    rng = torch.Generator().manual_seed(1)
    images = [torch.randn((4, 2, 1, 8, 8), generator=rng) for _ in range(count)]
    clear = torch.ones((4, 2, 8, 8), dtype=torch.bool)
    clear[:, 0, :2, :2] = False
    return [{"image": image, "clear": clear, "mask": (image[:, 0, 0] > 0).long()} for image in images]


def weights(model: Any) -> list[np.ndarray]:
    return [item.numpy() for item in model.state_dict().values()]


def test_the_same_seed_trains_the_same_net() -> None:
    """To the bit."""
    batches, found = make_batches(3), []
    found = [_train_net(batches), _train_net(batches)]
    assert all(np.array_equal(one, other) for one, other in zip(*map(weights, found), strict=True))


def _train_net(batches: list[dict[str, Any]]) -> Net:
    torch.manual_seed(5)
    net = Net(4, 2)
    train(net, 2, batches, batches)
    return net


def test_what_is_not_clear_is_not_seen() -> None:
    """Whatever stands there."""
    batch = make_batches(1)[0]
    other = {**batch, "image": batch["image"].masked_fill(~batch["clear"].unsqueeze(2), 9.0)}
    net = Net(4, 2).eval()
    assert torch.equal(net(batch), net(other))
    assert torch.equal(NearestMean.fit([batch], 2).means, NearestMean.fit([other], 2).means)


def test_simple_rules_learn_what_is_simple() -> None:
    """All but the corner that they cannot see, and what is near the border of both classes."""
    batches = make_batches(8)
    linear = Linear(4, 2)
    train(linear, 20, batches, batches)
    assert accuracy(count_pairs(linear, batches)) > 0.9
    assert accuracy(count_pairs(NearestMean.fit(batches, 2), batches)) > 0.9


def test_scores_are_of_known_pixels() -> None:
    """Of five, one ignored: three of four told; a class that there is none of has no IoU."""
    batch = {"mask": torch.tensor([[[0, 0, 1, 1, -100]]])}
    pairs = count_pairs(lambda _: torch.tensor([[[0, 1, 1, 1, 0]]]), [batch])
    ious = class_ious(pairs, 3)
    assert accuracy(pairs) == 0.75
    assert (ious[0], round(ious[1], 3), math.isnan(ious[2])) == (0.5, 0.667, True)


def told_of(net: float, linear: float, pairs: int) -> dict[str, Any]:
    """What a run tells, as far as it decides."""
    return {
        "test_accuracy": {"net": net, "logistic_regression": linear},
        "patches": {"pairs_of_sets_nearer_than_guard": pairs},
    }


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (told_of(0.949, 0.8, 0), "the net knows 0.949 of the test set's pixels, not 0.95"),
        (told_of(0.96, 0.92, 0), "logistic regression knows 0.92, and the net 0.96, not 0.05 more"),
        (told_of(0.98, 0.8, 2), "2 pairs of patches of two sets are nearer than 100 m"),
        (told_of(float("nan"), 0.8, 0), "the net knows nan"),
    ],
)
def test_a_poor_run_fails_and_is_not_recorded(monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], why: str) -> None:
    """By a message and not by zero."""
    monkeypatch.setenv("SHDASK_LEARN", "")
    monkeypatch.setattr(proof, "run", lambda **_: told)
    monkeypatch.setattr(proof, "write_result", None)
    with pytest.raises(SystemExit, match=f"not recorded: {why}"):
        proof.main()


def test_a_good_run_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of the documentation."""
    told, recorded = told_of(0.985, 0.846, 0), []
    monkeypatch.setenv("SHDASK_LEARN", "")
    monkeypatch.setattr(proof, "run", lambda **_: told)
    monkeypatch.setattr(proof, "write_result", lambda *item, **_: recorded.append(item[-1]))
    proof.main()
    assert recorded == [told]


def read_blank(_: Patch) -> dict[str, Any]:
    """Two dates of a band of 8 px."""
    return {
        "image": np.zeros((2, 1, 8, 8), np.float32),
        "clear": np.ones((2, 8, 8), np.bool_),
        "mask": np.zeros((8, 8), np.int64),
    }


def test_as_many_steps_are_scheduled_as_workers_give_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """13 patches in batches of five: two of each worker, where one reader gives three."""
    patches = make_patches(small_plan().grid, [(0, 4 * column) for column in range(13)], size_px=8)
    monkeypatch.setattr(proof, "WORKERS", 2)
    monkeypatch.setattr(proof, "BATCH", 5)
    loader = proof.load_shuffled(read_blank, patches)
    train(Linear(4, 2), 2, loader, make_batches(1))
    assert len(loader) == 4


@pytest.mark.timeout(900)
def test_the_whole_way_ends_in_a_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a quarter of the ground and ten epochs: better than the commonest class, on ground that was held out."""
    monkeypatch.setattr(proof, "SEED", 1)
    monkeypatch.setattr(proof, "BLOCK_M", 1280)
    monkeypatch.setattr(proof, "BATCH", 4)
    [monkeypatch.setenv(name, "") for name in ("SH_BASE_URL", "SH_TOKEN_URL", "SH_CLIENT_ID", "SH_CLIENT_SECRET")]
    told = proof.run(512, 10, str(tmp_path / "maps.png"))
    assert told["patches"]["pairs_of_sets_nearer_than_guard"] == 0
    assert told["test_accuracy"]["net"] > told["test_accuracy"]["commonest_class"] + 0.1
    assert told["blended_test_accuracy"] > told["test_accuracy"]["commonest_class"] + 0.1
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")
