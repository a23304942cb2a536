"""The three models of customers together: fitted at the same cut, or the champions of the registry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from features.customers import known_by
from pipelines.customers import churn, segments, value
from pipelines.customers.churn import ChurnModel
from pipelines.customers.moments import Past, Shared
from pipelines.customers.record import first_and_last
from pipelines.customers.segments import COLUMNS, SegmentsModel
from pipelines.customers.subscription import ContractChurnModel
from pipelines.customers.value import ValueModel
from pipelines.errors import TrackingError
from pipelines.settings import Customers, Settings
from pipelines.summary import Advance

if TYPE_CHECKING:
    from pipelines.tracking import Tracker


@dataclass(frozen=True)
class Models:
    """One model of each kind; the fields are the registered names."""

    churn: ChurnModel
    value: ValueModel
    segments: SegmentsModel

    def by_name(self) -> dict[str, ChurnModel | ValueModel | SegmentsModel]:
        """Registered name → model."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def fit(
    ledger: pl.DataFrame, cut: date, settings: Settings, advance: Advance, *, before: SegmentsModel | None = None
) -> tuple[Models, Past]:
    """Fit all three on what was known at a cut.

    Args:
        ledger: The shop's ledger (`features.customers.ledger`).
        cut: The last day that is known.
        settings: The shop's settings.
        advance: Called after each of the three.
        before: The segments in use, whose names are kept.

    Raises:
        NotEnoughDataError: There are too few customers, or too few of them have bought again.
    """
    terms = settings.customers
    shared = Shared()
    past = Past(ledger, cut, horizon_days=terms.churn_horizon_days, period_days=terms.period_days, shared=shared)
    leaving = churn.fit(past, trees=terms.trees, seed=settings.seed, threads=settings.threads)
    advance()
    worth, _ = fit_value(past.ledger, cut, settings, horizon_days=terms.value_horizon_days, shared=shared)
    advance()
    groups = segments.fit_at(past.ledger, cut, settings, before=before)
    advance()
    return Models(leaving, worth, groups), past


def fit_value(
    ledger: pl.DataFrame,
    cut: date,
    settings: Settings,
    *,
    horizon_days: int,
    as_revenue: bool = False,
    shared: Shared | None = None,
) -> tuple[ValueModel, Past]:
    """The value model of a cut, and the past it was fitted on; `as_revenue` leaves margin and discount aside."""
    terms = settings.customers
    known = known_by(ledger, cut)
    first, _ = first_and_last(known)
    taught = value.teaching_days((cut - first).days, horizon_days)
    past = Past(known, cut, horizon_days=taught, period_days=terms.period_days, shared=shared)
    model = value.fit(
        past,
        horizon_days=horizon_days,
        trees=terms.trees,
        seed=settings.seed,
        threads=settings.threads,
        rate=1.0 if as_revenue else _rate(terms),
        discount_rate_a_year=0.0 if as_revenue else terms.discount_rate_a_year,
    )
    return model, past


def fits(name: str, folder: Path, settings: Settings) -> bool:
    """Whether the files of a registered model answer what the configuration asks now: same kind, same horizon."""
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return all(facts.get(fact) == asked for fact, asked in _asked(settings.customers)[name].items())


def champions(tracker: Tracker, settings: Settings) -> tuple[Models, str]:
    """The champions, and their names and versions in words.

    Raises:
        TrackingError: One has not been trained yet, or was trained for another question than is asked now.
    """
    names = list(Models.__dataclass_fields__)
    found = {name: champion for name in names if (champion := tracker.champion(name)) is not None}
    remedy = "run `purvey train customers` first"
    missing = [name for name in names if name not in found]
    if missing:
        raise TrackingError(f"There is no champion of {', '.join(missing)} yet.", remedy=remedy)
    folders = {name: tracker.model_folder(name) for name in names}
    other = [name for name in names if not fits(name, folders[name], settings)]
    if other:
        raise TrackingError(
            f"The champion of {', '.join(other)} was trained for other settings of `customers`.", remedy=remedy
        )
    models = Models(
        ChurnModel.from_dir(folders["churn"]),
        ValueModel.from_dir(folders["value"]),
        SegmentsModel.from_dir(folders["segments"]),
    )
    return models, " ".join(f"{name} {champion.version}" for name, champion in found.items())


def segments_in_use(tracker: Tracker, settings: Settings) -> SegmentsModel | None:
    """The champion of the segments, None where there is none that a new one could follow."""
    if tracker.champion("segments") is None:
        return None
    folder = tracker.model_folder("segments")
    return SegmentsModel.from_dir(folder) if fits("segments", folder, settings) else None


def contract_champion(tracker: Tracker, settings: Settings) -> tuple[ContractChurnModel, str]:
    """The champion of customers on contracts, and its name and version in words.

    Raises:
        TrackingError: It has not been trained yet, or was trained for another question than is asked now.
    """
    champion = tracker.champion("churn")
    if champion is None or not fits("churn", folder := tracker.model_folder("churn"), settings):
        raise TrackingError(
            "There is no champion of churn for these settings of `customers` yet.",
            remedy="run `purvey train customers` first",
        )
    return ContractChurnModel.from_dir(folder), f"churn {champion.version}"


def _rate(terms: Customers) -> float:
    return 1.0 if terms.value == "revenue" else terms.margin_rate


def _asked(terms: Customers) -> dict[str, dict[str, Any]]:
    """What `model.json` says of a model that answers what is asked."""
    if terms.kind == "contractual":
        kind = "pipelines.customers.subscription:ContractChurnModel"
        return {"churn": {"class": kind, "horizon_days": terms.churn_horizon_days}}
    unit = {"period_days": terms.period_days}
    return {
        "churn": unit | {"class": "pipelines.customers.churn:ChurnModel", "horizon_days": terms.churn_horizon_days},
        "value": unit
        | {
            "class": "pipelines.customers.value:ValueModel",
            "horizon_days": terms.value_horizon_days,
            "rate": _rate(terms),
            "discount_rate_a_year": terms.discount_rate_a_year,
        },
        "segments": {"class": "pipelines.customers.segments:SegmentsModel", "columns": list(COLUMNS)}
        | ({} if terms.active_days is None else {"active_days": terms.active_days}),
    }
