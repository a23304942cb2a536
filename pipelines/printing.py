"""How summaries look in a terminal. For programs there is `--json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.accuracy import GIVE_OR_TAKE, with_errors

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.steps import Shop
    from pipelines.summary import Summary
    from pipelines.workflow import Run

WIDTH_WITHOUT_TERMINAL = 120
MOST_ROWS = 20
_BAR_WIDTH = 10


@cache
def _console() -> Console:
    console = Console(highlight=False, markup=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = WIDTH_WITHOUT_TERMINAL
    return console


def print_json(content: object) -> None:
    """Print plain data as one JSON document."""
    _console().out(as_json(content), highlight=False)


def as_json(content: object) -> str:
    """Plain data as one JSON document."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(content, default=str, option=options).decode()


def print_step(name: str, result: str, summary: Summary | None, seconds: float) -> None:
    """One line when a step of the flow has ended."""
    if summary is None or result != "done":
        _console().print(f"  {name:<16} {result}")
        return
    wrote = ", ".join(f"{key} {_short(value)}" for key, value in summary.wrote.items())
    _console().print(f"  {name:<16} {seconds:6.1f} s   {wrote}")


def print_run(shop: Shop, done: Run) -> None:
    """What a whole run found, and where to look."""
    from pipelines.release import current
    from pipelines.scorecard import scorecard

    for summary in done.summaries:
        if summary.job == "ingest" and summary.changed:
            print_tables(summary.tables)
        for note in summary.notes:
            _console().print(f"  note ({summary.job}): {note}")
    print_tables(scorecard(shop.lake))
    release = current(shop.settings.releases_dir)
    console = _console()
    console.print(f"\n{shop.settings.shop}: {done.seconds:.0f} s")
    console.print(f"  release   {release.id if release else 'none'}")
    console.print(f"  lake      {shop.settings.lake_url}")
    console.print(f"  models    {shop.settings.tracking_uri}")
    for report in sorted(shop.settings.reports_dir.glob("*.html")):
        console.print(f"  report    {report}")


def print_summary(summary: Summary) -> None:
    """What one job read, wrote and found."""
    console = _console()
    console.print(summary.job)
    for name, value in summary.read.items():
        console.print(f"  read   {name}: {f'version {value}' if isinstance(value, int) else _short(value)}")
    for name, value in summary.wrote.items():
        console.print(f"  wrote  {name}: {_short(value) + (' rows' if isinstance(value, int) else '')}")
    for name, value in summary.figures.items():
        console.print(f"         {name}: {_short(value)}")
    print_tables(summary.tables)
    for note in summary.notes:
        console.print(f"  note: {note}")


def print_tables(tables: Mapping[str, pl.DataFrame]) -> None:
    """Titled tables; a standard error stands in the cell of what it belongs to."""
    for title, table in tables.items():
        frame = with_errors(table)
        print_rows(frame.head(MOST_ROWS).to_dicts(), "nothing to show", title=title)
        if frame.height > MOST_ROWS:
            _console().print(f"  … and {frame.height - MOST_ROWS:,} more rows")


def print_rows(rows: Sequence[Mapping[str, Any]], when_empty: str, *, title: str | None = None) -> None:
    """Rows as one aligned table."""
    console = _console()
    if title:
        console.print(f"\n{title}")
    if not rows:
        console.print(f"  {when_empty}")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="right" if _is_figure(value) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_short(value) for value in row.values()))
    console.print(table)


def print_drivers(summary: Summary, keys: Sequence[str]) -> None:
    """What moves the forecast of one series: over all periods as bars, and period by period in words."""
    from features.forecast_tables import DRIVERS

    frame = summary.tables["drivers"]
    console = _console()
    console.print(" ".join(f"{key} {frame[key][0]}" for key in keys))
    totals = {driver: float(frame[driver].sum()) for driver in DRIVERS}
    largest = max(abs(units) for driver, units in totals.items() if driver != "level")
    decimals = 1 if max(map(abs, totals.values())) >= 10 else 2
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("driver")
    table.add_column("units", justify="right")
    table.add_column("")
    for driver, units in totals.items():
        moved = driver != "level"
        bar = _bar(units / largest if largest else 0.0) if moved else ""
        table.add_row(driver.replace("_", " "), f"{units:{'+' if moved else '-'}z,.{decimals}f}", bar)
    table.add_row("forecast", f"{frame['mean'].sum():,.{decimals}f}", f"over {frame.height} periods", style="bold")
    console.print(table)
    for period, words in frame.select("period", "words_en").iter_rows():
        console.print(f"  {period}  {words}", soft_wrap=True)
    for note in summary.notes:
        console.print(f"  note: {note}")


def print_reasons(summary: Summary) -> None:
    """Customer by customer, the likeliest to leave first: how likely, and what that goes with."""
    console = _console()
    reasons = summary.tables["reasons"]
    for customer, chance in summary.tables["customers"].iter_rows():
        console.print(f"customer {customer}: {chance:.0%} likely to leave", style="bold", markup=False)
        for rank, words in reasons.filter(customer_id=customer).select("rank", "text_en").iter_rows():
            console.print(f"  {rank}. {words}", soft_wrap=True, markup=False)
    console.print(f"as of {summary.figures['as_of']}, {summary.read['models']}")
    for note in summary.notes:
        console.print(f"  note: {note}")


def print_offers(summary: Summary, most: int = 20) -> None:
    """Customer by customer: what they may buy again, and what new, with the own product that says most for it."""
    console = _console()
    offers = summary.tables["offers"]
    for customer in offers["customer_id"].unique(maintain_order=True).head(most):
        console.print(f"customer {customer}", style="bold", markup=False)
        own = offers.filter(customer_id=customer).sort("kind", "rank")
        for kind, rank, product, because in own.select("kind", "rank", "product_id", "because_of").iter_rows():
            why = "popular now" if because is None else f"goes with {because}"
            console.print(f"  {kind} {rank}. {product}" + (f" ({why})" if kind == "new" else ""), markup=False)
    left = summary.figures["customers"] - most
    console.print(f"as of {summary.figures['as_of']}" + (f"; {left} more in table next_products" if left > 0 else ""))
    for note in summary.notes:
        console.print(f"  note: {note}")


def print_releases(rows: Sequence[Mapping[str, Any]]) -> None:
    """Releases, newest first, the current one marked."""
    shown = [{**row, "current": "← current" if row["current"] else ""} for row in rows]
    print_rows(shown, "no release yet: purvey run")


def print_welcome(settings: Settings, host: str, port: int, key: str) -> None:
    """Where the API is, a key for today, and three calls worth trying."""
    from pipelines.release import current

    console = _console()
    address = f"http://{host}:{port}"
    release = current(settings.releases_dir)
    console.print(f"\n{settings.shop} is served on {address}   (release {release.id if release else 'none yet'})")
    console.print(f"  demo key, valid 24 h from this machine only:  {key}\n")
    for path in example_calls(settings):
        console.out(f'  curl -H "Authorization: Bearer {key}" "{address}{path}"', highlight=False)
    console.print("\nStop with Ctrl-C.")


def example_calls(settings: Settings) -> list[str]:
    """Three paths worth trying on this shop."""
    calls = []
    if settings.forecasts_demand:
        calls.append("/v1/forecasts?limit=8")
    if settings.judges_customers:
        calls += ["/v1/churn?min_risk=0.5&limit=5", "/v1/segments"]
    if settings.forecasts_demand and settings.replenishes:
        calls.append("/v1/replenishment?limit=5")
    return [*calls, "/v1/models", "/v1/monitoring/drift", "/health/ready"][:3]


def _bar(share: float) -> str:
    """A share from −1 to 1 as a bar to the left or the right of an axis.

    Example:
        >>> _bar(-0.5), _bar(0.25)
        ('     █████│', '          │███')
    """
    length = int(abs(share) * _BAR_WIDTH + 0.5)
    return f"{'█' * length if share < 0 else '':>{_BAR_WIDTH}}│{'█' * length if share > 0 else ''}"


def _is_figure(value: Any) -> bool:
    if isinstance(value, str):
        return GIVE_OR_TAKE in value
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, list):
        return ", ".join(_short(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(part)}" for key, part in value.items())
    return str(value)
