"""`purvey stock`: the stock of a day examined, from the tables of the lake to tables and a summary for planners."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl

from features.calendar import Grid
from features.tables import TABLES
from pipelines.demand.inputs import open_panel
from pipelines.files import write_frame
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary
from pipelines.supply.examination import Examination, Records, examine
from pipelines.supply.situation import Situation, read_situation

_TOP_LINES = 8
_KEPT_BY = {"item_classes": "month", "stock_review": "as_of"}  # of the others only the newest say anything


def review_stock(settings: Settings, lake: Lake, *, as_of: date | None = None, out: Path | None = None) -> Summary:
    """Class series, review their stock, advise on open orders and plan counts, as of the opening of a day.

    Classes of the same month and the review of the same day are replaced, earlier ones stay; advice and counts are
    always those of the last run. With `out` the tables go to that folder as CSV and nowhere else.

    Args:
        settings: The shop.
        lake: Its tables.
        as_of: The day; default: the day the newest forecasts were issued.
        out: A folder.

    Raises:
        NotEnoughDataError: There are no forecasts that old, no stock, or no demand.
    """
    situation = read_situation(settings, lake, as_of)
    done = examine(
        situation,
        _records(settings, lake, situation.as_of),
        settings.supply,
        keys=settings.demand.series,
        days_a_period=Grid(settings.demand.frequency, date(1970, 1, 1)).days_a_period,
        currency=settings.currency,
        country=settings.demand.holidays,
        seed=settings.seed,
    )
    summary = Summary(job="stock", read=dict(situation.versions), changed=False)
    for name, frame in _tables(done, settings).items():
        if out is not None:
            path = out / f"{name}.csv"
            write_frame(frame, path)
            summary.wrote[str(path)] = frame.height
        else:
            summary.changed |= _write(lake, name, frame, situation.as_of)
            summary.wrote[name] = frame.height
    _tell(summary, done, situation, settings)
    return summary


def _write(lake: Lake, name: str, frame: pl.DataFrame, day: date) -> bool:
    if name not in _KEPT_BY:
        return lake.replace(name, frame).changed > 0
    column = _KEPT_BY[name]
    return lake.replace_where(name, frame, {column: day.replace(day=1) if column == "month" else day}).changed > 0


def _records(settings: Settings, lake: Lake, day: date) -> Records:
    panel = open_panel(settings, lake, opening=day)
    forecasts = lake.scan("forecasts").filter(pl.col("issued_on") <= day)
    keys = settings.demand.series
    counts = lake.read_or_empty("stock_counts", tuple(keys))  # one that nobody brought has keys of text
    columns = [*keys, "issued_on", "period", "mean", "p_zero"]
    return Records(
        known=panel.known(panel.last),
        previous=_previous_classes(settings, lake, day),
        forecasts=forecasts.select(columns).collect(),
        counts=counts.with_columns(pl.col(key).cast(panel.series.schema[key]) for key in keys),
    )


def _previous_classes(settings: Settings, lake: Lake, day: date) -> pl.DataFrame | None:
    """The classes of the newest earlier month; None where there are none by today's series columns."""
    if not lake.exists("item_classes"):
        return None
    classes = lake.scan("item_classes")
    if not set(settings.demand.series) <= set(classes.collect_schema()):
        return None
    earlier = classes.filter(pl.col("month") < day.replace(day=1)).collect()
    return earlier.filter(pl.col("month") == pl.col("month").max()) if earlier.height else None


def _tables(done: Examination, settings: Settings) -> dict[str, pl.DataFrame]:
    keys = settings.demand.series
    frames = {
        "item_classes": done.classes,
        "stock_review": done.review,
        "supply_advice": done.advice,
        "count_plan": done.counts,
    }
    tables: dict[str, pl.DataFrame] = {}
    for name, frame in frames.items():
        rows = frame.select(*keys, *TABLES[name].schema.column_names())
        schema = TABLES[name].schema_with(dict(rows.schema), tuple(keys))
        tables[name] = schema.validate(rows)
    return tables


def _tell(summary: Summary, done: Examination, situation: Situation, settings: Settings) -> None:
    keys, money, review = settings.demand.series, settings.currency, done.review
    summary.figures |= {
        "as_of": situation.as_of,
        "series_with_stock": review.height,
        f"stock_value_{money}": _sum(review, "stock_value"),
        f"excess_value_{money}": _sum(review, "excess_value"),
        f"dead_value_{money}": _sum(review, "dead_value"),
        "series_likely_to_run_out_before_a_new_order_could_come": review.filter(
            pl.col("finding") == "stock_out"
        ).height,
        "orders_to_change": done.advice.height,
        f"gain_of_changing_them_{money}": _sum(done.advice, "gain"),
        "counts_planned": done.counts.height,
    }
    summary.tables |= {
        "stock by worth and steadiness of demand (A–C by value, X–Z by variation)": _class_table(done),
        "what was found": _findings(review, money),
        "runs out first, most demand at stake": _stock_outs(review, keys),
        "most money in excess": _excess(review, keys),
        "orders to hurry": _orders(done.advice, keys, ["expedite"]),
        "orders to hold back or call off": _orders(done.advice, keys, ["defer", "cancel"]),
        "count first": done.counts.select(
            *keys, "count_on", "abc", "on_hand", pl.col("record_risk").round(2), "reason"
        ).head(_TOP_LINES),
    }
    if done.accuracy.height:
        summary.tables["record accuracy over the last year"] = done.accuracy
    summary.notes += _notes(done, situation)


def _class_table(done: Examination) -> pl.DataFrame:
    classes = done.classes.join(
        done.review.select(*_keys(done), "stock_value"), on=_keys(done), how="left"
    ).with_columns(pl.col("stock_value").fill_null(0.0))
    counts = classes.group_by("abc").agg(
        *(pl.col("xyz").eq(name).sum().alias(name) for name in "XYZ"),
        usage_value=pl.col("usage_value").sum().round(0),
        stock_value=pl.col("stock_value").sum().round(0),
        turns_a_year=pl.when(pl.col("stock_value").sum() > 0).then(
            (pl.col("usage_value").sum() / pl.col("stock_value").sum()).round(1)
        ),
        changed_class=(pl.col("abc") != pl.col("previous_abc")).fill_null(False).sum(),
    )
    return counts.sort("abc")


def _keys(done: Examination) -> list[str]:
    known = TABLES["item_classes"].schema.column_names()
    return [name for name in done.classes.columns if name not in known]


def _findings(review: pl.DataFrame, money: str) -> pl.DataFrame:
    return (
        review.group_by("finding")
        .agg(
            pl.len().alias("series"),
            pl.col("stock_value").sum().round(0).alias(f"stock_{money}"),
            pl.col("excess_value").sum().round(0).alias(f"excess_{money}"),
        )
        .sort("series", "finding", descending=[True, False])
    )


def _stock_outs(review: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    return (
        review.filter(pl.col("finding") == "stock_out")
        .with_columns(_stake=pl.col("demand_mean") * pl.col("unit_cost"))
        .sort("_stake", *keys, descending=[True, *[False] * len(keys)])
        .select(
            *keys,
            "abc",
            "on_hand",
            "on_order",
            pl.col("days_of_supply").round(0),
            "stock_out_on",
            "next_receipt_on",
            pl.col("stock_out_risk").round(2),
        )
        .head(_TOP_LINES)
    )


def _excess(review: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    return (
        review.filter(pl.col("excess_value") > 0)
        .sort("excess_value", *keys, descending=[True, *[False] * len(keys)])
        .select(
            *keys,
            "abc",
            "on_hand",
            pl.col("demand_p95").round(0),
            pl.col("excess").round(0),
            pl.col("excess_value").round(0),
            pl.col("days_of_supply").round(0),
            "days_since_demand",
        )
        .head(_TOP_LINES)
    )


def _orders(advice: pl.DataFrame, keys: list[str], kinds: list[str]) -> pl.DataFrame:
    chosen = advice.filter(pl.col("advice").is_in(kinds))
    return chosen.select(*keys, "supplier_id", "due_on", "quantity", "advice", "move_to", "gain", "reason").head(
        _TOP_LINES
    )


def _notes(done: Examination, situation: Situation) -> list[str]:
    said = {
        "series have stock and no forecast; no demand is expected of them": done.without_forecast,
        "open orders are overdue and expected today": situation.open_supply.filter(
            pl.col("due_on") < situation.as_of
        ).height,
    }
    notes = [f"{count:,} {what}." for what, count in said.items() if count]
    if situation.illustrative:
        notes.insert(0, "Stock, open supply and terms are an illustration made from a seed, not records.")
    other = situation.stock.filter(pl.col("as_of") != situation.as_of)
    if other.height:
        days = ", ".join(str(day) for day in other["as_of"].unique().sort().to_list()[:3])
        notes.append(f"Stock is of {days}, not of {situation.as_of}: what was sold or received between is not in it.")
    return notes


def _sum(frame: pl.DataFrame, column: str) -> float:
    return round(float(frame[column].sum()), 2)
