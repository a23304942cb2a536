"""Segments find the groups that are there, whatever the order of the rows, and keep their names when learned anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score

from pipelines.customers.kmeans import find_centroids, nearest
from pipelines.customers.segment_names import keep_names, make_names
from pipelines.customers.segments import LAPSED, SegmentsModel, fit, kept_active_days
from pipelines.customers.stability import Stability
from pipelines.errors import NotEnoughDataError

GROUPS = {
    "best": (5, 40, 9000),
    "good": (20, 8, 600),
    "small": (60, 1, 60),
    "gone": (400, 3, 200),
    "once": (300, 1, 40),
}


def customers(per_group: int = 60, seed: int = 4) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {
            "customer_id": f"{group}-{i:03d}",
            "days_since_last_order": round(days * rng.lognormal(0, 0.08)),
            "orders": max(1, round(orders * rng.lognormal(0, 0.08))),
            "spend": spend * rng.lognormal(0, 0.1),
        }
        for group, (days, orders, spend) in GROUPS.items()
        for i in range(per_group)
    ]
    return pl.DataFrame(rows).with_columns(orders_52w="orders", spend_52w="spend")


def learned(rows: pl.DataFrame, before: SegmentsModel | None = None, **more: object) -> SegmentsModel:
    return fit(rows, active_days=100, seed=1, before=before, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> SegmentsModel:
    return learned(customers())


def test_the_groups_that_are_there_are_found(model: SegmentsModel) -> None:
    rows = customers()
    found = model.predict(rows).with_columns(group=pl.col("customer_id").str.split("-").list.first())
    assert found.select(pl.col("group").n_unique().over("segment").max()).item() == 1
    named = dict(found.group_by("group").agg(pl.col("segment").unique().sort()).iter_rows())
    assert all("frequent_" in name and "spenders" in name for name in named["best"])
    assert all("rare_small_spenders" in name for name in named["small"])
    assert (named["gone"], named["once"]) == (["lapsed_repeat_buyers"], ["lapsed_one_time_buyers"])
    assert Stability(**model.stability[model.k]).holds(0.03)  # type: ignore[arg-type]


def test_lapsed_customers_never_stand_beside_active_ones(model: SegmentsModel) -> None:
    rows = customers()
    said = model.predict(rows).with_columns(lapsed=rows["days_since_last_order"] > 100)
    assert said.filter(pl.col("segment").is_in(LAPSED) != pl.col("lapsed")).is_empty()


def test_the_order_of_the_rows_does_not_matter(model: SegmentsModel) -> None:
    assert learned(customers().sample(fraction=1.0, shuffle=True, seed=3)) == model


def test_a_customer_is_judged_alone_as_among_others(model: SegmentsModel) -> None:
    rows = customers()
    alone = pl.concat([model.predict(rows[i : i + 1]) for i in range(0, rows.height, 40)])
    assert alone.equals(model.predict(rows)[::40])


def test_what_is_stored_is_what_is_loaded(model: SegmentsModel, tmp_path: Path) -> None:
    model.to_dir(tmp_path)
    assert SegmentsModel.from_dir(tmp_path) == model


def test_the_currency_hardly_matters() -> None:
    """log(1 + x) of large amounts moves by a constant when the unit changes."""
    rows = customers().with_columns(pl.col("spend", "spend_52w") * 100)
    cents = rows.with_columns(pl.col("spend", "spend_52w") * 100)
    assert adjusted_rand_score(learned(rows).places(rows), learned(cents).places(cents)) == 1


def test_names_are_kept_when_segments_are_learned_anew(model: SegmentsModel) -> None:
    """Where a group is one segment, it keeps the name that it was given."""
    renamed = replace(model, names=tuple(f"house name {place}" for place in range(len(model.names))))
    later = customers(seed=9)
    again = learned(later, before=renamed)
    assert again.k == renamed.k
    assert len(set(again.names)) == len(again.names)
    said, known = again.predict(later)["segment"], renamed.predict(later)["segment"]
    best = later["customer_id"].str.starts_with("best")
    assert (said == known).mean() > 0.7
    assert set(said.filter(best)) & set(known.filter(best))
    assert learned(customers(), before=renamed).names == renamed.names


def test_another_group_gets_a_name_of_its_own(model: SegmentsModel) -> None:
    """Without those who spent little, a group is divided that was one: no name is given twice, the best keep theirs."""
    names = tuple(f"house name {place}" for place in range(len(model.names)))
    before = replace(model, names=names)
    rows = customers().filter(~pl.col("customer_id").str.starts_with("small"))
    again = learned(rows, before=before)
    assert len(set(again.names)) == len(again.names)
    assert set(again.names) & set(names)
    assert set(again.names) - set(names)


def test_the_definition_of_lapsed_stays_while_it_is_about_the_same(model: SegmentsModel) -> None:
    assert (kept_active_days(115, model), kept_active_days(150, model), kept_active_days(115, None)) == (100, 150, 115)


def test_what_was_found_a_quarter_ago_is_compared_with_today() -> None:
    """A quarter ago only the best were there: what divides them does not tell today's other groups apart."""
    rows = customers()
    best = rows.filter(pl.col("customer_id").str.starts_with("best"))
    same, other = (learned(rows, quarter_ago=ago) for ago in (rows, best))
    assert same.stability[same.k]["next_quarter_ari"] == 1
    assert all((figures["next_quarter_ari"] or 0) < 0.85 for figures in other.stability.values())


def test_stability_needs_every_figure() -> None:
    assert Stability(0.95, 0.9, None).holds(0.03)
    assert not Stability(0.95, 0.79, 0.9).holds()
    assert not Stability(0.95, 0.9, 0.84).holds()
    assert not Stability(0.92, 0.9, 0.9).holds(0.03)


def test_equal_words_are_numbered_and_taken_names_are_left() -> None:
    same = np.zeros((3, 3))
    assert make_names(same) == ("average", "average_2", "average_3")
    assert make_names(same[:1], taken=["average"]) == ("average_2",)


def test_the_pairing_has_the_most_customers_in_common() -> None:
    """Greedily, 0 would take `a` (5 shared) and leave 1 with nothing; together 0-b and 1-a share more."""
    now = pl.Series([0] * 9 + [1] * 4)
    before = pl.Series(["a"] * 5 + ["b"] * 4 + ["a"] * 4)
    assert keep_names(now, before, ["a", "b"], 2) == {0: "b", 1: "a"}


def test_centroids_minimise_the_distances() -> None:
    """No partition that a brute force over three groups of nine points finds is tighter."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(9, 2))
    codes = np.stack(np.meshgrid(*[range(3)] * 9), axis=-1).reshape(-1, 9)

    def spread(places: np.ndarray) -> float:
        return sum(
            float(np.square(points[places == j] - points[places == j].mean(axis=0)).sum()) for j in set(places.tolist())
        )

    best = min(spread(code) for code in codes)
    assert spread(nearest(points, find_centroids(points, 3, seed=1, starts=30))) == pytest.approx(best)


def test_customers_who_are_all_alike_are_one_segment() -> None:
    rows = pl.DataFrame({"days_since_last_order": [3] * 9, "orders": [1] * 9, "spend": [5.0] * 9})
    rows = rows.with_columns(orders_52w="orders", spend_52w="spend")
    assert learned(rows).predict(rows)["segment"].unique().to_list() == ["average"]


def test_a_shop_without_active_customers_has_lapsed_ones() -> None:
    rows = customers().filter(pl.col("days_since_last_order") > 100)
    assert set(learned(rows).predict(rows)["segment"]) == set(LAPSED)


def test_too_few_customers_are_told_so() -> None:
    with pytest.raises(NotEnoughDataError, match="segments"):
        learned(customers().head(3))
