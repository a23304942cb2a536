"""The release the API answers from: opened, verified, held in memory, swapped when a new one becomes current."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from features.tables import quantile_of
from pipelines.errors import PurveyError
from pipelines.release import CURRENT, Release, verify
from serving.problems import Problem
from serving.telemetry import fault

if TYPE_CHECKING:
    from pipelines.demand.whatif import WhatIf

CHECK_SECONDS = 2.0
# A refused release is looked at again now and then: somebody may have mended it in place.
RETRY_SECONDS = 30.0
_DECIMALS = 4


class Held:
    """One verified release in memory. A request takes it once and answers from it alone.

    Args:
        release: The release, verified.
        stale_after_days: From which age on its answers are marked stale.
    """

    def __init__(self, release: Release, stale_after_days: float) -> None:
        self.release = release
        self.series: list[str] = list(release.shop.get("series", []))
        self._stale_after_days = stale_after_days
        self._tables = {name: release.table(name) for name in release.tables}
        # In memory like the tables: the folder may be pruned while this release still answers.
        self.reports = {name: (release.folder / "reports" / name).read_bytes() for name in release.reports}
        self._what_if: WhatIf | None = None
        self._only: dict[tuple[str, str], Any] = {}
        self.forecasts = forecasts_by_series(self._tables, self.series)
        if "forecast_changes" in self._tables:
            moves, move = self._tables["forecast_changes"], (pl.col("mean") - pl.col("mean_before")).abs()
            self._tables["forecast_changes"] = moves.sort(
                move, *self.series, "period", descending=[True, *(False for _ in self.series), False]
            )
        if "customer_scores" in self._tables:
            scores = self._tables["customer_scores"]
            self._tables["customer_scores"] = scores.sort(
                ["churn_probability", "value", "customer_id"], descending=[True, True, False], nulls_last=True
            )

    @property
    def age_days(self) -> float:
        """How old the release is."""
        return (datetime.now(UTC) - self.release.created_at).total_seconds() / 86_400

    @property
    def stale(self) -> bool:
        """Whether the release is older than it should be."""
        return self.age_days > self._stale_after_days

    @property
    def model_versions(self) -> str | None:
        """All model versions of the release in one line.

        Returns:
            For example `churn 2, demand 3`; None when it has no models.
        """
        return ", ".join(f"{name} {version}" for name, version in sorted(self.release.model_versions.items())) or None

    @property
    def data_as_of(self) -> date | None:
        """The last day of the data behind the release: customers are judged as of it, forecasts issued the day after.

        Returns:
            None when the release has neither.
        """
        days = []
        if self.has("customer_scores"):
            days.append(self.table("customer_scores")["as_of"].max())
        if self.has("forecasts"):
            days.append(self.table("forecasts")["issued_on"].dt.offset_by("-1d").max())
        return max((day for day in days if isinstance(day, date)), default=None)

    def has(self, table: str) -> bool:
        """Whether the release has this table."""
        return table in self._tables

    def table(self, name: str) -> pl.DataFrame:
        """A table of the release.

        Raises:
            Problem: 404, this shop has none.
        """
        if name not in self._tables:
            raise Problem("not-in-this-shop", f"This shop has no {name.replace('_', ' ')}.")
        return self._tables[name]

    def what_if(self) -> WhatIf:
        """The demand model of the release. LightGBM is loaded with the first one; call it off the event loop."""
        if self._what_if is None:
            from pipelines.demand.whatif import WhatIf  # SciPy and LightGBM come with it

            folder = self.release.folder / "models" / "demand"
            self._what_if = WhatIf.from_dir(folder, self.table("forecast_inputs"))
        return self._what_if

    def only(self, name: str, column: str) -> Any:
        """The single value of a column, or its values in one line when there are several; None for an empty table."""
        if (name, column) not in self._only:
            values = self.table(name)[column].unique().sort().to_list()
            only = values[0] if len(values) == 1 else ", ".join(str(value) for value in values) or None
            self._only[name, column] = only
        return self._only[name, column]


class Store:
    """Holds what `current` names, and notices when it changes.

    Args:
        releases_dir: The folder of all releases.
        stale_after_days: From which age on a release is stale.

    Attributes:
        held: The release that is answered from; None until a sound one is there.
        trouble: Why what `current` names is not the one held; None when all is well.
    """

    def __init__(self, releases_dir: Path, stale_after_days: float) -> None:
        self._releases_dir = releases_dir
        self._stale_after_days = stale_after_days
        self._refused: tuple[str, float] | None = None
        self.held: Held | None = None
        self.trouble: str | None = None
        self.refusals = 0

    def now(self) -> Held:
        """The release to answer from.

        Raises:
            Problem: 503, there is none yet.
        """
        if self.held is None:
            raise Problem("not-ready", self.trouble or "No release is loaded yet.", headers={"Retry-After": "5"})
        return self.held

    def refresh(self) -> bool:
        """Take up the current release if it is another one and sound; the old one answers meanwhile.

        Returns:
            Whether a new release was taken up.
        """
        link = self._releases_dir / CURRENT
        if not link.is_symlink():
            self.trouble = "There is no release yet: run `purvey run`." if self.held is None else None
            return False
        name = link.readlink().name
        if self.held is not None and self.held.release.id == name:
            self.trouble = self._refused = None
            return False
        if self._refused and self._refused[0] == name and time.monotonic() - self._refused[1] < RETRY_SECONDS:
            return False
        try:
            fresh = Held(verify(self._releases_dir / name), self._stale_after_days)
        except (PurveyError, OSError, pl.exceptions.PolarsError) as error:
            reason = error.message if isinstance(error, PurveyError) else type(error).__name__
            kept = f"; {self.held.release.id} still answers" if self.held else ""
            self.trouble = f"{name} was refused: {reason}{kept}"
            self._refused = name, time.monotonic()
            self.refusals += 1
            return False
        self.held, self.trouble, self._refused = fresh, None, None
        return True

    async def watch(self, *after: Callable[[], object]) -> None:
        """Refresh for ever, in a thread beside the requests, and do what comes `after` each look.

        Whatever goes wrong is logged and stops nothing: the next look comes all the same.
        """
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for step in (self.refresh, *after):
                try:
                    await asyncio.to_thread(step)
                except Exception as error:
                    fault(error)


def forecasts_by_series(tables: dict[str, pl.DataFrame], keys: list[str]) -> pl.DataFrame | None:
    """One row a series, its forecast as lists over the periods: the shape that is sent.

    Args:
        tables: The tables of a release.
        keys: The shop's series columns.

    Returns:
        Columns: keys, attributes (struct, where the series table has some), issued_on, periods, mean, mean_model,
        overrides (those that moved it), quantiles (struct of lists), p_zero, flags, model_version.
        None when there are no forecasts.
    """
    if "forecasts" not in tables:
        return None
    forecasts = tables["forecasts"]
    quantiles = [name for name in forecasts.columns if quantile_of(name) is not None]
    planned = {
        "mean_model": pl.col("mean_model").round(_DECIMALS),
        "overrides": pl.col("override_id").drop_nulls().unique(maintain_order=True),
    }
    rows = (
        forecasts.sort([*keys, "period"])
        .group_by(keys, maintain_order=True)
        .agg(
            pl.col("issued_on").first(),
            periods=pl.col("period"),
            mean=pl.col("mean").round(_DECIMALS),
            **(planned if "override_id" in forecasts.columns else {}),  # not in releases of an older program
            **{name: pl.col(name).round(_DECIMALS) for name in quantiles},
            p_zero=pl.col("p_zero").round(_DECIMALS),
            flags=pl.col("flags").filter(pl.col("flags") != "").str.split(",").explode().unique(maintain_order=True),
            model_version=pl.col("model_version").first(),
        )
        .with_columns(quantiles=pl.struct(quantiles) if quantiles else pl.lit(None))
        .drop(quantiles)
    )
    attributes = tables.get("series", rows.select(keys))
    described = [name for name in attributes.columns if name not in keys]
    if described:
        attributes = attributes.select(*keys, attributes=pl.struct(described))
        rows = rows.join(attributes, on=keys, how="left", maintain_order="left")
    return rows
