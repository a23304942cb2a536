"""Lists of the current release as files: CSV that is safe to open in a spreadsheet, Parquet or JSON."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pipelines.errors import ConfigError, ReleaseError
from pipelines.files import FORMATS, write_frame
from pipelines.release import current
from pipelines.settings import Settings
from pipelines.summary import Summary


def export(settings: Settings, what: str, out: Path) -> Summary:
    """Write one list of the current release.

    Args:
        settings: The shop.
        what: forecasts, customers, segments, churn, replenishment, classes, stock, advice or counts.
        out: The file; its ending says the format. It appears whole or not at all.

    Raises:
        ConfigError: There is no such list or format.
        ReleaseError: There is no release yet, or it has no such table.
    """
    lists = {
        "customers": "customer_scores",
        "churn": "customer_scores",
        "classes": "item_classes",
        "stock": "stock_review",
        "advice": "supply_advice",
        "counts": "count_plan",
    }
    known = ("forecasts", "customers", "segments", "churn", "replenishment", "classes", "stock", "advice", "counts")
    if what not in known or out.suffix not in FORMATS:
        raise ConfigError(
            f"There is no {out.suffix or 'nameless'} export of {what!r}.",
            remedy=f"lists: {', '.join(known)}; files: {', '.join(FORMATS)}",
        )
    release = current(settings.releases_dir)
    if release is None:
        raise ReleaseError("There is no release yet.", file=settings.releases_dir, remedy="purvey run")
    frame = release.table(lists.get(what, what))
    if what == "churn":
        frame = frame.filter(pl.col("status") == "active").sort("churn_probability", "value", descending=True)
    write_frame(frame, out)
    return Summary("export", read={"release": release.id}, wrote={str(out): frame.height})
