"""What the pages show: key figures without personal data, the demand chart, and the lists as rows of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from serving.access.scopes import Access
from serving.api.churn import at_risk
from serving.api.replenishment import is_illustrative, proposals
from serving.store import Held

ROWS_A_PAGE = 50
_NAMED = ("segment", "status", "flags")
_LONG = ("drivers", "reasons", "description", "why")
_SHARES = ("share", "probability", "risk")
# Longest first series of bars: about a year of weeks.
_HISTORY_PERIODS = 52
_CHART_WIDTH, _CHART_HEIGHT = 960.0, 180.0


@dataclass(frozen=True)
class Figure:
    """One figure in words: `value` large, `about` beneath, `note` small."""

    value: str
    about: str
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar of the demand chart, in the units of its viewBox."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Chart:
    """Total demand, past and expected."""

    bars: list[Bar]
    first: str
    last: str
    highest: str
    forecast_x: float
    width: float = _CHART_WIDTH
    height: float = _CHART_HEIGHT


@dataclass(frozen=True)
class Column:
    """A column of a list: its title and how its cells are set (number, short, long, text)."""

    title: str
    kind: str


@dataclass(frozen=True)
class Listing:
    """One list: what it is, who may see it, where its rows come from and which columns are shown."""

    title: str
    about: str
    scope: str
    table: str
    rows: Callable[[Held], pl.DataFrame]
    columns: tuple[str, ...]
    api: str
    csv: str


def key_figures(held: Held) -> list[Figure]:
    """The figures of the start page; what the shop does not have is left out."""
    figures = []
    if held.forecasts is not None and held.forecasts.height:
        forecasts = held.table("forecasts")
        periods = forecasts["period"].n_unique()
        unit = str(held.release.shop.get("frequency", "period"))
        note = f"{number(held.forecasts.height)} series forecast"
        figures.append(Figure(number(float(forecasts["mean"].sum())), f"units expected in {periods} {unit}s", note))
    if held.has("customer_scores"):
        scores = held.table("customer_scores")
        active = scores.filter(pl.col("status") == "active")
        risky = active.filter(pl.col("churn_band") == "high").height
        note = f"of {number(scores.height)} known"
        figures += [
            Figure(number(active.height), "active customers", note),
            Figure(number(risky), "of them at high risk of leaving", _share(risky, active.height)),
        ]
    if held.has("replenishment"):
        orders = held.table("replenishment").filter(pl.col("quantity") > 0)
        note = (
            "illustrative: made-up stock"
            if is_illustrative(held)
            else f"{number(float(orders['quantity'].sum()))} units"
        )
        figures.append(Figure(number(orders.height), "orders proposed", note))
    if held.has("drift") and held.table("drift").height:
        drift = held.table("drift").filter(pl.col("threshold").is_not_null())
        drifting = drift.filter(pl.col("status") == "drift").height
        figures.append(Figure(number(drifting), "drift checks raise an alarm", f"of {number(drift.height)}"))
    return figures


def demand_chart(held: Held) -> Chart | None:
    """Total demand per period, the last year and what is expected; None without demand.

    Means may be added up over series; quantiles may not, so none are drawn.
    """
    if held.forecasts is None or not held.has("history"):
        return None
    totals = {
        kind: held.table(table).group_by("period").agg(total=pl.col(column).sum()).sort("period")
        for kind, table, column in (("past", "history", "quantity"), ("expected", "forecasts", "mean"))
    }
    totals["past"] = totals["past"].tail(_HISTORY_PERIODS)
    rows = [(kind, period, max(total, 0.0)) for kind, frame in totals.items() for period, total in frame.iter_rows()]
    highest = max((total for _, _, total in rows), default=0.0)
    if not highest:
        return None
    step = _CHART_WIDTH / len(rows)
    bars = []
    for place, (kind, period, total) in enumerate(rows):
        height = round(_CHART_HEIGHT * total / highest, 1)
        title = f"{day(period)}: {number(total)} {'expected' if kind == 'expected' else 'sold'}"
        bars.append(Bar(round(place * step, 1), _CHART_HEIGHT - height, round(step * 0.72, 1), height, kind, title))
    forecast_x = round(totals["past"].height * step, 1)
    return Chart(bars, day(rows[0][1]), day(rows[-1][1]), number(highest), forecast_x)


def report_title(file: str) -> str:
    """What a report is called.

    Example:
        >>> report_title("drift.html"), report_title("drift_order_lines.html")
        ('Drift report', 'Drift of order lines')
    """
    kind, _, dataset = file.removesuffix(".html").replace("_", " ").capitalize().partition(" ")
    return f"{kind} of {dataset}" if dataset else f"{kind} report"


def listings(held: Held) -> dict[str, Listing]:
    """The lists this shop has, by the name in their path."""
    return {name: listing for name, listing in _LISTINGS.items() if held.has(listing.table)}


def shown(held: Held, listing: Listing, page: int, access: Access) -> tuple[list[Column], list[list[str]], int]:
    """One page of a list as text, of what a key may know of.

    Returns:
        Columns, rows, and how many rows there are in all.
    """
    rows = access.within(listing.rows(held))
    known = [*held.series, *(name for name in listing.columns if name not in held.series)]
    columns = [name for name in known if name in rows.columns]
    part = rows.select(columns).slice((page - 1) * ROWS_A_PAGE, ROWS_A_PAGE)
    cells = [[_cell(name, value) for name, value in zip(columns, row, strict=True)] for row in part.iter_rows()]
    titled = [Column(name.replace("_", " "), _kind(name, part.schema[name])) for name in columns]
    return titled, cells, rows.height


def _kind(name: str, dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "number"
    return "long" if name in _LONG else "short" if dtype.is_temporal() or name.endswith("_id") else "text"


def number(value: float | int | None) -> str:
    """A number for people.

    Example:
        >>> number(1234567.8), number(3.456), number(84.0), number(None)
        ('1,234,568', '3.46', '84', '–')
    """
    if value is None:
        return "–"
    whole = abs(value) >= 100 or value % 1 == 0
    decimals = 0 if whole else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}"


def day(value: date | None) -> str:
    """A date for people.

    Example:
        >>> day(date(2011, 12, 9))
        '9 Dec 2011'
    """
    return f"{value.day} {value:%b %Y}" if value else "–"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} of the active" if whole else ""


def _cell(name: str, value: Any) -> str:
    if value is None or value == []:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, date):
        return day(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0%}" if any(word in name for word in _SHARES) else number(value)
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.replace("_", " ") if name in _NAMED else text


def _forecast_rows(held: Held) -> pl.DataFrame:
    """One row a series: total over the horizon, the next period with its 80 % band and, where stored, its drivers."""
    rows = held.forecasts if held.forecasts is not None else pl.DataFrame()
    band = [field.name for field in rows.schema["quantiles"].fields] if rows.schema["quantiles"].is_nested() else []  # type: ignore[attr-defined]
    described = _described(held, rows)
    if held.has("forecast_drivers"):
        drivers = held.table("forecast_drivers").sort("period").group_by(held.series, maintain_order=True)
        described = described.join(drivers.agg(why=pl.col("words_en").first()), on=held.series, how="left")
    return described.with_columns(
        next_period=pl.col("periods").list.first(),
        expected=pl.col("mean").list.first(),
        in_all=pl.col("mean").list.sum(),
        **{name: pl.col("quantiles").struct.field(name).list.first() for name in band if name in ("p10", "p50", "p90")},
    ).sort("in_all", descending=True)


def _described(held: Held, rows: pl.DataFrame) -> pl.DataFrame:
    if "description" in rows.columns or not held.has("series") or "description" not in held.table("series").columns:
        return rows
    return rows.join(held.table("series").select(*held.series, "description"), on=held.series, how="left")


_LISTINGS = {
    "forecasts": Listing(
        "Forecasts",
        "What will be ordered, largest first.",
        "forecasts:read",
        "forecasts",
        _forecast_rows,
        ("description", "next_period", "expected", "p10", "p50", "p90", "in_all", "flags", "why"),
        "/v1/forecasts",
        "/v1/forecasts?format=csv",
    ),
    "replenishment": Listing(
        "Orders to place",
        "What to reorder, the most urgent first, and why.",
        "replenishment:read",
        "replenishment",
        lambda held: _described(held, proposals(held, 0.5)),
        (
            "description",
            "quantity",
            "order_by",
            "receive_on",
            "on_hand",
            "stock_out_risk_before",
            "drivers",
        ),
        "/v1/replenishment?min_quantity=0.5",
        "/v1/replenishment?min_quantity=0.5&format=csv",
    ),
    "churn": Listing(
        "Customers at risk",
        "Active customers, the likeliest to leave first.",
        "customers:read",
        "customer_scores",
        at_risk,
        (
            "customer_id",
            "churn_probability",
            "churn_band",
            "value",
            "segment",
            "days_since_last_order",
            "next_order_on",
            "reasons",
        ),
        "/v1/churn",
        "/v1/churn?format=csv",
    ),
    "segments": Listing(
        "Segments",
        "Kinds of customers, in words and figures.",
        "customers:read",
        "segments",
        lambda held: held.table("segments").sort("scheme", "customers", descending=[False, True]),
        (
            "name",
            "scheme",
            "description",
            "customers",
            "share_of_customers",
            "share_of_spend",
            "mean_churn_probability",
            "mean_value",
        ),
        "/v1/segments",
        "/v1/segments?format=csv",
    ),
}
