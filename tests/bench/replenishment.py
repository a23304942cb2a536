"""Replenishment of a million item-locations: seconds and memory, from the tables as files to the orders as a file.

The tables are made from a seed: weekly lognormal demand from .3 to 30 a week, forecast for four weeks ahead in eleven
quantiles; stock, an open order for half of the lines, and terms with lead times of one or two weeks, packs and minimum
orders. Each way is measured in a process of its own, reading and writing included:

- `quantiles`: lead_time_demand alone, the closed form;
- `paths`: forecasts, lead_time_demand and path_ranks, 128 joint paths a line.

What comes out is checked: every line once, feasible under its terms, and on a sample of lines equal to what the same
lines give alone.

    PYTHONPATH=. python tests/bench/replenishment.py [--lines 1000000] [--threads 2] [--only quantiles,paths]
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measuring import answer, child, measured, seconds
from scipy.special import ndtri

from features.tables import TABLES as KNOWN
from pipelines.files import write_frame
from pipelines.settings import Supply
from pipelines.supply.replenishment import replenishment
from pipelines.supply.situation import Situation

KEYS = ["product_id", "location_id"]
ISSUED = date(2024, 4, 15)
LEVELS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
NAMES = [f"p{round(100 * level):02d}" for level in LEVELS]
WEEKS, PATHS = 4, 128


def tables(lines: int, seed: int = 1) -> dict[str, pl.DataFrame]:
    """Tables of a shop with so many item-locations."""
    rng = np.random.default_rng(seed)
    number = pl.int_range(lines, eager=True)
    keys = pl.DataFrame(
        {
            "product_id": pl.select(pl.format("P{}", (number // 50).cast(pl.String).str.zfill(6))).to_series(),
            "location_id": pl.select(pl.format("L{}", (number % 50).cast(pl.String).str.zfill(2))).to_series(),
        }
    )
    mean = np.exp(rng.uniform(np.log(0.3), np.log(30), lines))
    made = {"path_ranks": _path_ranks(rng)}
    for table, step in (("forecasts", "horizon"), ("lead_time_demand", "periods")):
        weeks = [_week(keys, mean, step, k, together=table == "lead_time_demand") for k in range(1, WEEKS + 1)]
        made[table] = pl.concat(weeks)
    weeks_of_stock = rng.gamma(2, 1, lines)
    made["stock"] = keys.with_columns(
        as_of=pl.lit(ISSUED), on_hand=pl.Series(np.floor(mean * weeks_of_stock)), illustrative=pl.lit(False)
    )
    some = rng.random(lines) < 0.5
    made["open_supply"] = keys.filter(pl.Series(some)).with_columns(
        supplier_id=pl.lit("S1"),
        due_on=pl.lit(ISSUED) + pl.duration(days=pl.Series(rng.integers(0, 21, int(some.sum())))),
        quantity=pl.Series(np.ceil(mean[some] * rng.uniform(0.5, 2, int(some.sum())))),
    )
    price = rng.uniform(1, 50, lines)
    made["supply_terms"] = keys.with_columns(
        supplier_id=pl.format("S{}", pl.Series(rng.integers(0, 200, lines))),
        lead_time_days=pl.Series(rng.choice([7.0, 14.0], lines)),
        lead_time_sd_days=pl.Series(rng.choice([0.0, 2.0], lines)),
        review_days=pl.lit(7, dtype=pl.Int64),
        moq=pl.Series(rng.choice([0.0, 0.0, 12.0], lines)),
        multiple=pl.Series(rng.choice([1.0, 6.0], lines)),
        unit_cost=pl.Series(price * 0.6),
        holding_rate=pl.lit(0.25),
        shortage_cost=pl.Series(price * 0.4),
    )
    return made


def _week(keys: pl.DataFrame, mean: np.ndarray, step: str, k: int, *, together: bool) -> pl.DataFrame:
    weeks = k if together else 1
    spread = 0.7 / np.sqrt(weeks)
    quantiles = np.exp(spread * ndtri(LEVELS) - spread**2 / 2)[None, :] * (mean * weeks)[:, None]
    frame = pl.concat([keys, pl.DataFrame(quantiles, schema=NAMES)], how="horizontal")
    return frame.with_columns(
        pl.lit(k, dtype=pl.Int32).alias(step),
        issued_on=pl.lit(ISSUED),
        mean=pl.Series(mean * weeks),
        pool=pl.lit(0, dtype=pl.Int32),
        period=pl.lit(ISSUED + timedelta(days=7 * (k - 1))),
        model_version=pl.lit("1"),
    )


def _path_ranks(rng: np.random.Generator) -> pl.DataFrame:
    ranks = np.stack([rng.permutation(PATHS) for _ in range(WEEKS)], axis=1)
    path, step = (axis.ravel() for axis in np.indices(ranks.shape, dtype=np.int32))
    return pl.DataFrame({"pool": np.zeros(len(path), np.int32), "path": path, "horizon": step + 1}).with_columns(
        issued_on=pl.lit(ISSUED),
        rank=pl.Series((ranks.ravel() + 0.5) / PATHS),
        horizon=pl.col("horizon").cast(pl.Int32),
    )


# -- in a child process ------------------------------------------------------------------------------------------------


def make(folder: Path, lines: int) -> dict[str, Any]:
    for name, frame in tables(lines).items():
        frame.write_parquet(folder / f"{name}.parquet")
    return {}


def decide_all(folder: Path, method: str, threads: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with measured(figures):
        orders = _orders(folder, method, threads)
        write_frame(orders, folder / f"orders_{method}.parquet")
    return (
        figures
        | {"lines": orders.height, "ordered": int((orders["quantity"] > 0).sum())}
        | _checked(folder, orders, method)
    )


def _situation(folder: Path, method: str, chosen: pl.DataFrame | None = None) -> Situation:
    def read(name: str) -> pl.DataFrame:
        frame = pl.scan_parquet(folder / f"{name}.parquet")
        if chosen is not None and name != "path_ranks":
            frame = frame.join(chosen.lazy(), on=KEYS, how="semi")
        return frame.collect()

    return Situation(
        as_of=ISSUED,
        forecasts=read("forecasts") if method == "paths" else read("lead_time_demand").clear(),
        lead_time_demand=read("lead_time_demand"),
        stock=read("stock"),
        open_supply=read("open_supply"),
        supply_terms=read("supply_terms"),
        prices=pl.DataFrame(schema={"product_id": pl.String, "location_id": pl.String, "price": pl.Float64}),
        path_ranks=read("path_ranks") if method == "paths" else None,
        stock_lots=_without_rows("stock_lots"),
        open_demand=_without_rows("open_demand"),
    )


def _without_rows(table: str) -> pl.DataFrame:
    return KNOWN[table].schema.create_empty().with_columns(pl.lit(None, dtype=pl.String).alias(key) for key in KEYS)


def _orders(folder: Path, method: str, threads: int, chosen: pl.DataFrame | None = None, **said: Any) -> pl.DataFrame:
    situation = _situation(folder, method, chosen)
    supply = Supply(method=method, **said)  # type: ignore[arg-type]
    return replenishment(situation, supply, keys=KEYS, days_a_period=7.0, run="bench", threads=threads).orders


def _checked(folder: Path, orders: pl.DataFrame, method: str) -> dict[str, Any]:
    terms = pl.read_parquet(folder / "supply_terms.parquet")
    placed = orders.filter(pl.col("quantity") > 0).join(terms, on=KEYS)
    assert orders.select(KEYS).is_unique().all()
    assert orders.height == terms.height
    assert (placed["quantity"] >= placed["moq"]).all()
    assert (placed["quantity"] % placed["multiple"] == 0).all()
    assert (orders["expected_cost"] <= orders["expected_cost_at_zero"] * (1 + 1e-6) + 1e-6).all()
    assert orders["drivers"].str.count_matches("; ", literal=True).eq(2).all()
    many = orders.select(KEYS).sample(min(20_000, orders.height), seed=1).sort(KEYS)
    some = many.head(200)  # with a stated ratio: a tuned one is that of all lines of a kind
    among, alone = (_orders(folder, method, 1, chosen, effective_ratio=1.0) for chosen in (many, some))
    assert alone.drop("run").equals(among.join(some, on=KEYS, how="semi").drop("run")), "alike alone and among many"
    return {"checked": "ok"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="quantiles,paths")
    parser.add_argument("--child")
    given = parser.parse_args()
    if given.child:
        answer(given.child, {task.__name__: task for task in (make, decide_all)})
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child(make, folder, lines=given.lines)
        for method in given.only.split(","):
            found = child(decide_all, folder, method=method, threads=given.threads)
            print(
                f"{method:>10}: {found['lines']:,} lines, {found['ordered']:,} to order, {seconds(found)}, "
                f"peak {found['peak_mb']:,.0f} MB, checks {found['checked']}"
            )


if __name__ == "__main__":
    main()
