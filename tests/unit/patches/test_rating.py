"""Which patches are good enough, at which date, by an index that is made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shdask.errors import PlanError
from shdask.patches.choosing.draft import Draft, draft_places
from shdask.patches.choosing.places import Places
from shdask.patches.choosing.rating import Rejected, Wanted, check_wanted, match_dates, rate

from .grounds import make_ground

DAYS = np.array(["2024-06-01", "2024-06-05", "2024-06-05", "2024-06-11"], "datetime64[s]")
"""The second was bought again."""
VALID = np.array([[1.0, 0.0, 0.8, 0.6], [0.0, 0.0, 0.0, 0.0], [0.5, 1.0, 0.5, 0.5]], np.float32)
CLEAR = np.array([[0.2, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.4]], np.float32)
S2 = Wanted(layers=("s2",))


class MadeUpIndex:
    """Shares by the patch's row, in two layers."""

    def dates(self, zone: str, layer: str) -> np.ndarray:
        """In any zone."""
        del zone
        return DAYS if layer != "dem" else np.array(["NaT"], "datetime64[s]")

    def shares(self, zone: str, layer: str, y0: np.ndarray, x0: np.ndarray, size_px: int) -> Any:
        """Wherever else they lie."""
        del zone, x0, size_px
        if layer != "dem":
            return VALID[y0], CLEAR[y0]
        return np.full((y0.size, 1), 0.7, np.float32), np.ones((y0.size, 1), np.float32)


def draft(*dates: str) -> Draft:
    """Patches in rows 0, 1 and 2, for these dates."""
    rows = np.arange(3)
    made = draft_places(Places(ground=rows * 0, y0=rows, x0=rows * 0))
    return replace(made, date=np.array(dates or ["NaT"] * 3, "datetime64[s]"))


def rated(made: Draft, wanted: Wanted) -> tuple[list[tuple[int, str, float, float]], Rejected]:
    """(row, day, valid, clear) of the good ones, and how many are not."""
    ground = replace(make_ground(), layers=("s2", "dem", "s1"))
    good, rejected = rate(made, [ground], MadeUpIndex(), wanted, 1)
    days = np.datetime_as_string(good.date, "D").tolist()
    shares = (np.round(column.astype(float), 3).tolist() for column in (good.valid_share, good.clear_share))
    return list(zip(good.y0.tolist(), days, *shares, strict=True)), rejected


def test_a_patch_of_all_dates_has_shares_of_all():
    """Valid on average over the dates, each once; clear of what is valid. One that is never valid is not good."""
    assert rated(draft(), S2) == ([(0, "NaT", 0.8, 0.667), (2, "NaT", 0.5, 0.467)], Rejected(shares=1))


def test_floors_are_included():
    """A share that is just enough is."""
    assert [row[0] for row in rated(draft(), replace(S2, min_valid=0.5))[0]] == [0, 2]
    assert [row[0] for row in rated(draft(), replace(S2, min_valid=0.5, min_clear=0.6))[0]] == [0]
    assert [row[0] for row in rated(draft(), replace(S2, min_valid=0.0))[0]] == [0, 1, 2]


def test_each_good_date_has_a_patch():
    """By place, then by date; of a date that was bought again the newer."""
    found, rejected = rated(draft(), replace(S2, dates="each", min_clear=0.4))
    assert found == [(0, "2024-06-05", 0.8, 1.0), (0, "2024-06-11", 0.6, 1.0), (2, "2024-06-01", 0.5, 1.0),
                     (2, "2024-06-11", 0.5, 0.4)]  # fmt: skip  # rows
    assert rejected == Rejected(shares=1)


def test_the_clearest_date_has_the_most_clear_pixels():
    """Of those that are good."""
    found, _ = rated(draft(), replace(S2, dates="clearest"))
    assert found == [(0, "2024-06-05", 0.8, 1.0), (2, "2024-06-01", 0.5, 1.0)]
    found, _ = rated(draft(), replace(S2, dates="clearest", min_valid=0.9))
    assert found == [(0, "2024-06-01", 1.0, 0.2)]


@pytest.mark.parametrize("dates", ["all", "each", "clearest"])
def test_a_label_has_its_nearest_good_date(dates: str):
    """Within the days, both ways; labels without one are counted, whatever the others' dates are."""
    made = draft("2024-06-08", "2024-06-05", "2024-06-20T12:00")
    found, rejected = rated(made, replace(S2, within_days=3, dates=dates))
    assert found == [(0, "2024-06-05", 0.8, 1.0)]
    assert rejected == Rejected(dates=2)


def test_the_nearest_date_need_not_be_the_clearest():
    """Where it is good enough."""
    made = draft("2024-06-02", "NaT", "2024-06-09")
    found, _ = rated(made, replace(S2, within_days=9))
    assert found == [(0, "2024-06-01", 1.0, 0.2), (2, "2024-06-11", 0.5, 0.4)]


def test_a_nearer_date_that_is_not_good_is_passed_over():
    """For the next one within the days."""
    made = draft("2024-06-04", "NaT", "2024-06-10")
    found, _ = rated(made, replace(S2, within_days=6, min_clear=0.5))
    assert found == [(0, "2024-06-05", 0.8, 1.0)]
    found, _ = rated(made, replace(S2, within_days=9, min_clear=0.5))
    assert found == [(0, "2024-06-05", 0.8, 1.0), (2, "2024-06-01", 0.5, 1.0)]


def test_of_several_layers_the_least_counts():
    """The first with dates gives them; heights are 70 % valid everywhere."""
    wanted = replace(S2, layers=("dem", "s2"), dates="clearest")
    assert rated(draft(), wanted)[0] == [(0, "2024-06-05", 0.7, 1.0), (2, "2024-06-01", 0.5, 1.0)]


def test_dates_of_other_layers_count_once():
    """As they were bought last: radar of the same shares changes nothing."""
    assert rated(draft(), replace(S2, layers=("s2", "s1"))) == rated(draft(), S2)


def test_a_layer_without_dates_has_patches_without():
    """Labels' dates do not matter to it."""
    wanted = Wanted(layers=("dem",), dates="each")
    assert rated(draft("2024-06-08", "NaT", "NaT"), wanted)[0] == [(row, "NaT", 0.7, 1.0) for row in range(3)]


def test_nothing_is_rated_to_nothing():
    """No place, no date, no error."""
    empty = draft().take(np.zeros(0, np.intp))
    assert rated(empty, S2) == ([], Rejected())


def test_a_plans_dates_are_matched_too():
    """The nearest, of two as near the earlier; without pixels none is better than another."""
    ground = replace(make_ground(), dates={"s2": np.unique(DAYS)})
    made = draft("2024-06-08T23:00", "2024-06-15", "NaT")
    found, lost = match_dates(made, [ground], ("s2",), 3)
    assert np.datetime_as_string(found.date, "D").tolist() == ["2024-06-05", "NaT"]
    assert lost == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"min_valid": 1.5}, "min_valid = 1.5: it is a share"),
        ({"min_clear": -0.1}, "min_clear = -0.1: it is a share"),
        ({"layers": ("s1",)}, "the cube has no layer 's1'; it has s2"),
        ({"within_days": -1}, "within_days = -1"),
    ],
)
def test_what_cannot_be_wanted_is_refused(words: dict[str, Any], message: str):
    """Before anything is read."""
    with pytest.raises(PlanError, match=message):
        check_wanted(replace(S2, **words), make_ground())
