"""Next best products: against a slow oracle, a scrambled future, in any order of rows, without a history."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from math import sqrt

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from features.tables import MEAN, STANDARD_ERROR, TABLES
from pipelines.customers import offer_backtest, offer_jobs, offers
from pipelines.customers.offers import fit, likeness
from pipelines.customers.purchases import baskets, purchases
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.lake import Lake
from pipelines.printing import print_offers
from pipelines.settings import Customers, Settings, Source

CUT = date(2024, 5, 1)
Row = tuple[str, str, int, str, float]


def lines(rows: list[Row]) -> pl.DataFrame:
    """Order lines from (customer, product, days before the cut, kind, quantity)."""
    noon = datetime(CUT.year, CUT.month, CUT.day, 12, tzinfo=UTC)
    at = [noon - timedelta(days=ago) for _, _, ago, _, _ in rows]
    columns = {"customer_id": 0, "product_id": 1, "kind": 3, "quantity": 4}
    frame = pl.DataFrame({name: [row[place] for row in rows] for name, place in columns.items()})
    return frame.with_columns(
        pl.Series("ordered_at", at, dtype=pl.Datetime("us", "UTC")),
        order_id=pl.format("o{}", pl.int_range(pl.len())),
        line_no=pl.lit(1, dtype=pl.Int64),
        location_id=pl.lit("all"),
        unit_price=pl.lit(2.0),
    ).with_columns(known_at="ordered_at")


def made(seed: int, customers: int = 40, products: int = 12, days: int = 200) -> list[Row]:
    """A shop in which products 0–5 and 6–11 go together, with returns and with orders after the cut."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for customer in range(customers):
        taste = rng.permutation(products // 2)[:3] + (customer % 2) * (products // 2)
        for _ in range(rng.integers(1, 8)):
            ago = int(rng.integers(-40, days))
            chosen = np.unique([*rng.choice(taste, 2), rng.integers(products)] if rng.random() < 0.3 else taste[:2])
            rows += [(f"c{customer}", f"p{one}", ago, "sale", float(rng.integers(1, 4))) for one in chosen]
            if rng.random() < 0.2:
                rows.append((f"c{customer}", f"p{chosen[0]}", max(ago - 3, -40), "return", 3.0))
    return rows


def slowly(rows: list[Row]) -> tuple[dict[str, list[tuple]], dict[str, list[tuple]]]:
    """The same offers, one customer and product at a time: (new, again), customer → (product, score, because of)."""
    known = [row for row in rows if row[2] >= 0]
    net: dict[tuple[str, str], float] = defaultdict(float)
    days: dict[tuple[str, str], set[int]] = defaultdict(set)
    for customer, product, ago, kind, quantity in known:
        net[customer, product] += quantity if kind == "sale" else -quantity
        if kind == "sale":
            days[customer, product].add(ago)
    everyone = sorted({customer for customer, _ in days})
    products = sorted({product for _, product in days})
    liked = {pair: seen for pair, seen in days.items() if net[pair] > 0}

    def decay(ago: int, half_life: int) -> float:
        return 0.5 ** (ago / half_life)

    def strength(customer: str, product: str, half_life: int) -> float:
        return decay(min(liked[customer, product]), half_life) if (customer, product) in liked else 0.0

    def together(one: str, other: str) -> float:
        half_life = offers.LEARNING_HALF_LIFE_DAYS
        return sum(strength(who, one, half_life) * strength(who, other, half_life) for who in everyone)

    length = {one: sqrt(together(one, one) + offers.SHRINKAGE) for one in products}
    like = {(a, b): together(a, b) / (length[a] * length[b]) for a in products for b in products if a != b}
    half_life = offers.POPULARITY_HALF_LIFE_DAYS
    newest = [min(min(seen) for (who, _), seen in liked.items() if who == one) for one in {who for who, _ in liked}]
    buyers = sum(decay(ago, half_life) for ago in newest)
    popular = {one: sum(strength(who, one, half_life) for who in everyone) / buyers for one in products}
    repeated = [len(seen) > 1 for seen in liked.values()]
    shop = sum(repeated) / len(repeated)
    new, again = {}, {}
    for who in everyone:
        own = [one for one in products if (who, one) in liked]
        found = []
        for one in products:
            if (who, one) not in net:
                said = {
                    mine: strength(who, mine, offers.TASTE_HALF_LIFE_DAYS) * like[mine, one]
                    for mine in own
                    if like[mine, one] > 0
                }
                loudest = max(said, key=lambda mine: said[mine]) if said else None
                found.append((one, sum(said.values()) + offers.POPULARITY_WEIGHT * popular[one], loudest))
        new[who] = sorted(found, key=lambda offer: -offer[1])
        order_days = {ago for (customer, _), seen in days.items() if customer == who for ago in seen}
        weight = sum(decay(ago, offers.HABIT_HALF_LIFE_DAYS) for ago in order_days)
        found = []
        for one in own:
            mine = [len(seen) > 1 for (_, product), seen in liked.items() if product == one]
            prior = offers.REPEAT_PRIOR_CUSTOMERS
            share = (sum(mine) + prior * shop) / (len(mine) + prior)
            habit = sum(decay(ago, offers.HABIT_HALF_LIFE_DAYS) for ago in liked[who, one])
            score = (habit + offers.HABIT_PRIOR_DAYS * share) / (weight + offers.HABIT_PRIOR_DAYS)
            found.append((one, score, one))
        again[who] = sorted(found, key=lambda offer: -offer[1])
    return new, again


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("cells", [10, 4_000_000])
def test_offers_are_those_of_a_slow_oracle(seed: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "_CELLS", cells)
    rows = made(seed)
    model = fit(baskets(purchases(lines(rows)), CUT))
    for expected, found in zip(slowly(rows), (model.new, model.again), strict=True):
        said = found(list(expected)[::-1], 4)
        assert said["customer_id"].to_list() == sorted(said["customer_id"])
        for who, theirs in expected.items():
            mine = said.filter(customer_id=who)
            assert mine["rank"].to_list() == list(range(1, min(len(theirs), 4) + 1))
            assert mine["score"].to_list() == pytest.approx([score for _, score, _ in theirs[:4]])
            scores = {product: (pytest.approx(score), because) for product, score, because in theirs}
            for product, score, because in mine.select("product_id", "score", "because_of").iter_rows():
                assert (score, because) == scores[product]


def test_only_the_likest_products_speak() -> None:
    rng = np.random.default_rng(5)
    bought = sparse.csr_matrix(rng.random((30, 9)) * (rng.random((30, 9)) < 0.6))
    dense = bought.toarray()
    squares = dense.T @ dense
    length = np.sqrt(np.diag(squares) + 2.0)
    whole = squares / np.outer(length, length)
    np.fill_diagonal(whole, 0)
    np.testing.assert_allclose(likeness(bought, neighbours=20, shrinkage=2.0).toarray(), whole)
    for row, kept in enumerate(likeness(bought, neighbours=3, shrinkage=2.0).toarray()):
        assert set(np.flatnonzero(kept)) == set(np.argsort(-whole[row])[:3])


def test_nothing_later_than_the_day_changes_an_offer() -> None:
    rows = made(4)
    later = [
        ("c0", "p11", -1, "sale", 99.0),
        ("c1", "p0", -2, "return", 99.0),
        ("stranger", "novelty", -5, "sale", 1.0),
    ]
    known = [row for row in rows if row[2] >= 0]
    told = [fit(baskets(purchases(lines(some)), CUT)) for some in (rows, known, known + later)]
    everyone = told[1].baskets.customers.to_list()
    assert len({model.table(everyone, 5).write_json() for model in told}) == 1
    late = lines(rows).with_columns(known_at=pl.col("known_at") + timedelta(days=400))  # happened before, known after
    mixed = pl.concat([lines(known), late.with_columns(order_id=pl.format("late {}", "order_id"))])
    assert fit(baskets(purchases(mixed), CUT)).table(everyone, 5).equals(told[1].table(everyone, 5))


def test_rows_and_customers_in_any_order_and_alone() -> None:
    frame = lines(made(6))
    model = fit(baskets(purchases(frame), CUT))
    everyone = model.baskets.customers.to_list()
    said = model.table(everyone, 5)
    TABLES["next_products"].schema.validate(said)
    shuffled = fit(baskets(purchases(frame.sample(fraction=1, shuffle=True, seed=1)), CUT))
    assert shuffled.table(everyone[::-1], 5).equals(said)
    for who in everyone[::7]:
        assert model.table([who], 5).equals(said.filter(customer_id=who))


def test_corrected_lines_count_as_they_were_known_then() -> None:
    frame = lines([("a", "x", 5, "sale", 1.0), ("a", "y", 5, "sale", 1.0), ("b", "x", 5, "sale", 1.0)])
    wrong = frame.head(1).with_columns(product_id=pl.lit("z"), known_until=pl.col("known_at") + timedelta(days=9))
    right = frame.with_columns(known_until=pl.lit(None, dtype=frame.schema["known_at"]))
    right = right.with_columns(
        pl.when(pl.int_range(pl.len()) == 0)
        .then(pl.col("known_at") + timedelta(days=9))
        .otherwise("known_at")
        .alias("known_at")
    )
    both = purchases(pl.concat([right, wrong]))
    assert fit(baskets(both, CUT)).again(["a"], 5)["product_id"].sort().to_list() == ["y", "z"]
    assert fit(baskets(both, CUT + timedelta(days=9))).again(["a"], 5)["product_id"].sort().to_list() == ["x", "y"]


def test_what_was_brought_back_is_neither_liked_nor_offered() -> None:
    others: list[Row] = [(f"o{one}", product, 3, "sale", 1.0) for one in range(9) for product in ("x", "y", "z")]
    mine: list[Row] = [("me", "x", 4, "sale", 2.0), ("me", "x", 2, "return", 2.0), ("me", "y", 4, "sale", 1.0)]
    model = fit(baskets(purchases(lines(others + mine)), CUT))
    assert model.again(["me"], 5)["product_id"].to_list() == ["y"]
    assert model.new(["me"], 5).select("product_id", "because_of").rows() == [("z", "y")]


def test_without_history_what_is_popular_is_offered() -> None:
    model = fit(baskets(purchases(lines(made(7))), CUT))
    said = model.new(["nobody"], 5)
    assert said["product_id"].to_list() == model.popular(["nobody"], 5)["product_id"].to_list()
    assert said["because_of"].null_count() == 5
    best = np.argsort(-model.popularity, kind="stable")[:5]
    assert said["product_id"].to_list() == model.baskets.products.gather(best).to_list()
    assert model.again(["nobody"], 5).is_empty()
    with pytest.raises(ConfigError, match="No customer 'nobody' has ordered by 2024-05-01"):
        model.table(["nobody"], 5)
    empty = fit(baskets(purchases(lines(made(7))), date(2000, 1, 1)))
    assert empty.table([], 5).is_empty()
    assert empty.new(["nobody"], 5).is_empty()


def test_success_is_counted_as_by_hand_and_errors_by_customer() -> None:
    bought = purchases(lines(made(8, customers=120)))
    cut = CUT + timedelta(days=5)
    hits = offer_backtest.hits_at(bought, cut)
    model = fit(baskets(bought, cut))
    window = bought.filter("sale", pl.col("day") > cut, pl.col("day") <= cut + timedelta(days=28))
    came = set(window.select("customer_id", "product_id").iter_rows())
    before = set(bought.filter(pl.col("day") <= cut).select("customer_id", "product_id").iter_rows())
    everyone = model.baskets.customers.to_list()
    ordered = sorted({who for who, _ in came} & set(everyone))
    for top in offer_backtest.TOPS:
        ours, popular = (
            found.filter(pl.col("rank") <= top) for found in (model.new(everyone, 10), model.popular(everyone, 10))
        )
        lucky = [
            {who for who, what in found.select("customer_id", "product_id").iter_rows() if (who, what) in came - before}
            for found in (ours, popular)
        ]
        mine = hits.filter(slice="new", metric=f"success_{top}").sort("customer_id")
        assert mine["customer_id"].to_list() == ordered
        assert mine["offers"].to_list() == [who in lucky[0] for who in ordered]
        assert mine["popularity"].to_list() == [who in lucky[1] for who in ordered]
    twice = pl.concat([hits, hits.with_columns(cut=pl.lit(CUT))])  # the same again tells nothing more
    for frame in (hits, twice):
        rows = offer_backtest.evaluate(frame).filter(slice="new", metric="success_5_added")
        one = hits.filter(slice="new", metric="success_5")
        added = (one["offers"].cast(pl.Float64) - one["popularity"].cast(pl.Float64)).to_numpy()
        value = dict(rows.select("cut", "value").iter_rows())
        assert value[MEAN] == pytest.approx(added.mean())
        assert value[STANDARD_ERROR] == pytest.approx(added.std(ddof=1) / sqrt(len(added)))


def test_offers_beat_popularity_where_tastes_differ() -> None:
    rng = np.random.default_rng(9)
    rows: list[Row] = []
    for customer in range(300):
        for ago in rng.integers(-40, 120, 6):
            chosen = rng.choice(20, 2, replace=False) + 20 * (customer % 2)  # half of the shop is for every other one
            rows += [(f"c{customer}", f"p{one}", int(ago), "sale", 1.0) for one in chosen]
    found = offer_backtest.run(purchases(lines(rows)), CUT + timedelta(days=40), 3)
    gain = dict(found.filter(metric="success_5_added", slice="new", model="offers").select("cut", "value").iter_rows())
    assert gain[MEAN] > 2 * gain[STANDARD_ERROR] > 0
    assert len(gain) == 5
    assert offer_backtest.run(purchases(lines(made(9)[:3])), CUT - timedelta(days=190), 3).is_empty()


def test_the_job_keeps_one_word_a_customer_and_day(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(tmp_path / "lake")
    sources = [Source(table="order_lines", path="orders.parquet")]
    settings = Settings(shop="made_up", data_dir=str(tmp_path), sources=sources, customers=Customers())
    lake.append("order_lines", lines(made(10)))
    first = offer_jobs.offer(settings, lake, top=None, as_of=CUT)
    everyone = lake.read("next_products")
    assert everyone["customer_id"].n_unique() == first.figures["customers"]
    assert not offer_jobs.offer(settings, lake, ["c3"], as_of=CUT).changed
    assert lake.read("next_products").equals(everyone)
    assert offer_jobs.offer(settings, lake, ["c3"], products=1, as_of=CUT).changed
    assert lake.read("next_products").filter(customer_id="c3")["kind"].to_list() == ["again", "new"]
    assert (
        lake.read("next_products")
        .filter(pl.col("customer_id") != "c3")
        .equals(everyone.filter(pl.col("customer_id") != "c3"))
    )
    best = pl.DataFrame({"as_of": [CUT] * 2, "customer_id": ["c5", "c8"], "value": [9.0, 7.0]})
    lake.append("customer_scores", best)
    assert offer_jobs.offer_to_listed(settings, lake, ["c3", "never ordered"], CUT)
    assert lake.read("next_products").sort("customer_id", "kind", "rank").equals(everyone)
    assert not offer_jobs.offer_to_listed(settings, lake, ["c3"], CUT)
    chosen = offer_jobs.offer(settings, lake, top=1, as_of=CUT)
    assert chosen.tables["offers"]["customer_id"].unique().to_list() == ["c5"]
    print_offers(chosen)
    said = capsys.readouterr().out
    assert "customer c5" in said
    assert "new 1. p" in said
    with pytest.raises(NotEnoughDataError, match="by 2001-01-01"):
        offer_jobs.offer(settings, lake, as_of=date(2001, 1, 1))
    with pytest.raises(NotEnoughDataError, match="name a day up to"):
        offer_jobs.offer(settings, lake, as_of=date(2030, 1, 1))
