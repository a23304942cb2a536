"""The release the API answers from: opened, verified, held in memory, swapped when a new one becomes current."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from features.tables import quantile_of
from pipelines.errors import PurveyError
from pipelines.release import CURRENT, Release, verify
from serving import bodies
from serving.logs import fault
from serving.problems import Problem

if TYPE_CHECKING:
    from pipelines.customers.unseen import Unseen
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
        self._created_at = release.created_at.timestamp()
        self.openings: dict[Any, Any] = {}  # what answers have in common, kept by those who make them
        self._tables = {name: release.table(name) for name in release.tables}
        # In memory like the tables: the folder may be pruned while this release still answers.
        self.reports = {name: (release.folder / "reports" / name).read_bytes() for name in release.reports}
        self._what_if: WhatIf | None = None
        self._unseen: Unseen | None = None
        self._only: dict[tuple[str, str], Any] = {}
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
        self.forecast_bodies = self._forecast_bodies()
        self.customer_bodies = self._customer_bodies()

    @cached_property
    def forecasts(self) -> pl.DataFrame | None:
        """One row a series, as `forecasts_by_series` gives it: made at the first look, since few need all of them."""
        return forecasts_by_series(self._tables, self.series)

    def forecasts_of(self, series: pl.DataFrame) -> pl.DataFrame:
        """The rows of `forecasts` of these series only, in the order of their keys."""
        own = self.table("forecasts").join(series.select(self.series), on=self.series, how="semi")
        found = forecasts_by_series(self._tables | {"forecasts": own}, self.series)
        assert found is not None
        return found

    @cached_property
    def forecast_series(self) -> pl.DataFrame:
        """The keys of the series that have a forecast, in the order of `forecast_bodies`.

        Raises:
            Problem: 404, this shop has no forecasts.
        """
        return self.table("forecasts").select(
            pl.col(self.series).filter(pl.struct(self.series).rle_id().is_first_distinct())
        )

    def _forecast_bodies(self) -> bodies.Bodies | None:
        if "forecasts" not in self._tables:
            return None
        rows, order = self._tables["forecasts"], [*self.series, "period"]
        if not _is_sorted(rows, order):  # releases are written in order; of those made before, a sorted copy is held
            self._tables["forecasts"] = rows = rows.sort(order)

        def shaped(part: pl.DataFrame) -> pl.DataFrame:
            found = forecasts_by_series(self._tables | {"forecasts": part}, self.series)
            assert found is not None
            return found

        return bodies.made(rows, self.series, shaped)

    def _customer_bodies(self) -> bodies.Bodies | None:
        if "customer_scores" not in self._tables:
            return None
        return bodies.made(self._tables["customer_scores"], ["customer_id"], bodies.tidy)

    @property
    def age_days(self) -> float:
        """How old the release is."""
        return (time.time() - self._created_at) / 86_400

    @property
    def stale(self) -> bool:
        """Whether the release is older than it should be."""
        return self.age_days > self._stale_after_days

    def max_age_seconds(self, runs_every_hours: float | None) -> int:
        """How long an answer may be kept: until the next release is due; 0 where none is planned or it is late."""
        if runs_every_hours is None:
            return 0
        due = self.release.created_at + timedelta(hours=runs_every_hours)
        return max(int((due - datetime.now(UTC)).total_seconds()), 0)

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

    def unseen(self) -> Unseen:
        """The customer models of the release, for whom it does not hold. Call it off the event loop.

        Raises:
            Problem: 404, this shop has no customer scores, or its customers have contracts.
        """
        if self._unseen is None:
            as_of = self.only("customer_scores", "as_of")
            churn, value = (self.release.folder / "models" / name for name in ("churn", "value"))
            if isinstance(as_of, date) and churn.exists() and value.exists():
                from pipelines.customers.unseen import Unseen  # SciPy and LightGBM come with it

                self._unseen = Unseen.from_dirs(churn, value, as_of, self.release.shop.get("timezone", "UTC"))
        if self._unseen is None:
            raise Problem("not-in-this-shop", "This shop has no models that score unseen customers.")
        return self._unseen

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
        before: The release that was held before, so that page walks begun on it can end; None once its folder is gone.
        trouble: Why what `current` names is not the one held; None when all is well.
    """

    def __init__(self, releases_dir: Path, stale_after_days: float) -> None:
        self._releases_dir = releases_dir
        self._stale_after_days = stale_after_days
        self._refused: tuple[str, float] | None = None
        self.held: Held | None = None
        self.before: Held | None = None
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

    def of(self, release: str) -> Held:
        """The release a page walk began on: the one held, or the one before.

        Raises:
            Problem: 410, it is no longer here.
        """
        now = self.now()
        found = next((one for one in (now, self.before) if one is not None and one.release.id == release), None)
        if found is None:
            raise Problem("cursor-expired", f"The cursor is of release {release}; {now.release.id} is current now.")
        return found

    def refresh(self) -> bool:
        """Take up the current release if it is another one and sound; the old one answers meanwhile.

        Returns:
            Whether a new release was taken up.
        """
        if self.before is not None and not self.before.release.folder.exists():
            self.before = None  # it was removed: somebody in it may have been forgotten
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
        # Whom the release before names may have been forgotten: then its folder is gone.
        self.before = self.held if self.held is not None and self.held.release.folder.exists() else None
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


def _is_sorted(rows: pl.DataFrame, order: list[str]) -> bool:
    """Whether rows stand in the order of these columns, without sorting them."""
    later, same = pl.lit(False), pl.lit(True)
    for column in order:
        now, before = pl.col(column), pl.col(column).shift()
        later, same = later | (same & (now > before)), same & (now == before)
    return bool(rows.select((later | same).slice(1).all()).item())


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
