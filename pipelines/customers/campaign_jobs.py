"""Jobs on campaigns: build the lists, hand one over, and measure what those before brought."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from features.tables import TABLES
from pipelines.customers import campaigns, delivery, jobs, lists, offer_jobs, outcomes, suppression
from pipelines.errors import ConfigError, LakeError, NotEnoughDataError, OutputError
from pipelines.files import FORMATS, write_frame
from pipelines.lake import Lake
from pipelines.settings import Campaign, Settings
from pipelines.summary import Summary

if TYPE_CHECKING:
    from pipelines.tracking import Tracker

_NOT_CAUSAL = (
    "{} is risk-ranked, not causal: its response rate is an assumption until {} exported lists with "
    "control groups of at least {} are measured."
)
_WORDS = suppression.REASONS | lists.BESIDES


def build(
    settings: Settings,
    lake: Lake,
    tracker: Tracker | None = None,
    *,
    as_of: date | None = None,
    campaign: str | None = None,
) -> Summary:
    """Make one list a campaign from the newest scores, and measure the lists whose window is over.

    A list of a day that was already exported stays as it was; one that was only built is made again.

    Args:
        settings: The shop.
        lake: Its tables.
        tracker: Its models: they give the reasons of whoever is listed; without them lists have none, and no offers.
        as_of: Use the newest scores up to this day.
        campaign: Only this one.

    Raises:
        ConfigError: There is no such campaign.
        NotEnoughDataError: Nobody was scored by then, or there is no customers table.
    """
    chosen = campaigns.named(settings, campaign)
    scores = _scores(lake, as_of)
    day: date = scores["as_of"][0]
    customers = _customers(lake)
    measured = _measure(settings, lake)
    known, posted = lake.read_or_empty("lists"), lake.read_or_empty("campaign_outcomes")
    changed, notes, rows, reasons = measured.changed, list[str](), list[dict[str, object]](), list[pl.DataFrame]()
    for one in chosen:
        name = campaigns.list_id(one, day)
        if known.filter(pl.col("list_id") == name, pl.col("state") == "exported").height:
            notes.append(f"{name} was exported before and stays as it was.")
            continue
        contacts = suppression.contacted(known, posted, timezone=settings.timezone, besides=name)
        built = lists.build(
            scores,
            one,
            settings.customers,
            customers=customers,
            contacts=contacts.filter(pl.col("contacted_on") <= day),
            before=_last_list(known, one, day),
            response=outcomes.response(one, _results(lake), day),
        )
        changed |= _keep(lake, name, built)
        reasons.append(built.reasons)
        rows.append(_told(name, built))
        if built.rows.height and built.rows["response_basis"][0] == outcomes.ASSUMED:
            notes.append(_NOT_CAUSAL.format(name, outcomes.ENOUGH_LISTS, outcomes.ENOUGH_CONTROLS))
    if tracker is not None and settings.customers.kind == "transactional":  # reasons are told from orders
        changed |= _explain(settings, lake, tracker, day)
    summary = Summary("lists build", read=lake.versions(["customer_scores", "customers"]), changed=changed)
    summary.wrote = {"lists": sum(int(str(row["customers"])) for row in rows)}
    summary.figures = {"as_of": day.isoformat()}
    summary.tables["Lists"] = pl.DataFrame(rows)
    summary.tables["Of the audience, not on the list"] = _in_words(reasons)
    summary.notes = notes
    return summary


def export(
    settings: Settings,
    lake: Lake,
    *,
    list_id: str | None = None,
    campaign: str | None = None,
    out: Path,
    day: date | None = None,
    bom: bool = False,
) -> Summary:
    """Hand one list over for contact: consent and cool-off are judged again, the control group stays behind.

    The contacts are on record before the file appears: a file nobody knows of cannot come to be.

    Args:
        settings: The shop.
        lake: Its tables.
        list_id: The list; or
        campaign: the newest list of this campaign.
        out: A .csv, .parquet or .json file; it appears whole or not at all.
        day: The day of the contact; the day of the newest scores unless said.
        bom: Start a CSV with the mark by which Excel knows UTF-8.

    Raises:
        ConfigError: There is no such list, campaign or format.
        LakeError: The customers table cannot be read: nobody knows who may be contacted, so nobody is.
        OutputError: The list has expired, or the file cannot be written.
    """
    if out.suffix not in FORMATS:
        raise ConfigError(f"A list cannot be a {out.suffix or 'nameless'} file.", remedy=f"one of {', '.join(FORMATS)}")
    known = lake.read_or_empty("lists")
    rows = _one_list(known, list_id, campaign)
    name, own = rows["list_id"][0], campaigns.named(settings, rows["campaign"][0])[0]
    day = day or _scores(lake)["as_of"][0]
    _refuse_if_expired(rows, day)
    customers = _customers(lake)
    contacts = suppression.contacted(
        known, lake.read_or_empty("campaign_outcomes"), timezone=settings.timezone, besides=name
    )
    judged = suppression.judge(
        rows.drop("consent_basis"),
        customers,
        contacts,
        channel=own.channel,
        needs_consent=own.needs_consent,
        since=suppression.since(day, own.cool_off_days),
    )
    decided = delivery.decide(judged, day)
    kept = decided.select(TABLES["lists"].schema.column_names())
    against = suppression.counted(
        decided.filter(~pl.col("control_group")), list_id=name, campaign=own.name, stage="export"
    )
    lake.replace_where("lists", kept, {"list_id": name})
    lake.replace_where("list_suppressions", against, {"list_id": name, "stage": "export"})
    reasons = lake.read("customer_reasons") if lake.exists("customer_reasons") else None
    offers = lake.read("next_products") if lake.exists("next_products") else None
    sent = delivery.sheet(decided.filter("now"), reasons, offers)
    write_frame(sent, out, bom=bom)
    summary = Summary("lists export", read=lake.versions(["lists", "customers"]), wrote={str(out): sent.height})
    summary.figures = {
        "list_id": name,
        "contact_on": day.isoformat(),
        "control_group": int(rows["control_group"].sum()),
        "cost": round(float(sent["cost"].sum()), 2),
        "expected_profit": round(float(sent["expected_profit"].sum()), 2),
    }
    if against.height:
        summary.tables["On the list, not in the file"] = _in_words([against])
    return summary


def results(settings: Settings, lake: Lake) -> Summary:
    """Measure every exported list whose window is over, and show what each brought.

    Raises:
        ConfigError: The shop has no campaigns.
    """
    campaigns.named(settings, None)
    summary = _measure(settings, lake)
    found = _results(lake)
    summary.tables["Response: contacted less control group"] = found.select(
        "list_id", "treated", "control", "treated_response_rate", "control_response_rate", "lift", "lift_low",
        "lift_high",
    )  # fmt: skip
    summary.tables["Profit"] = found.select(
        "list_id", "revenue_per_head_lift", "revenue_per_head_lift_low", "revenue_per_head_lift_high", "cost",
        "profit", "profit_low", "profit_high",
    )  # fmt: skip
    if found.is_empty():
        summary.notes.append("No list that was exported is old enough to be measured.")
    return summary


def _measure(settings: Settings, lake: Lake) -> Summary:
    """Write what the exported lists brought so far; nothing where none is due."""
    summary = Summary("lists results", changed=False)
    known = lake.read_or_empty("lists").drop_nulls("exported_on")
    if known.is_empty() or not lake.exists("order_lines"):
        return summary
    zone = settings.timezone
    orders = lake.scan("order_lines").filter(pl.col("customer_id").is_in(known["customer_id"].unique().implode()))
    day = pl.col("ordered_at").dt.convert_time_zone(zone).dt.date()
    sales = orders.select("customer_id", "kind", day=day, amount=pl.col("quantity") * pl.col("unit_price")).collect()
    last = lake.scan("order_lines").select(day.max()).collect().item()
    known_by = pl.col("known_at").dt.convert_time_zone(zone).dt.date()
    posted = lake.read_or_empty("campaign_outcomes").filter(known_by.is_null() | (known_by <= last))
    terms = settings.customers
    by_name = {campaign.name: campaign for campaign in terms.campaigns}
    found = outcomes.measure(
        known,
        sales,
        posted,
        campaigns=by_name,
        margins={
            name: one.margin_rate if one.margin_rate is not None else terms.margin_rate for name, one in by_name.items()
        },
        last=last,
    )
    if found.height:
        written = lake.replace("campaign_results", found)
        summary.wrote, summary.changed = {"campaign_results": found.height}, written.changed > 0
    return summary


def _scores(lake: Lake, as_of: date | None = None) -> pl.DataFrame:
    """Table customer_scores of its newest day, or the newest up to a day."""
    if lake.exists("customer_scores"):
        rows = lake.scan("customer_scores")
        rows = rows if as_of is None else rows.filter(pl.col("as_of") <= as_of)
        newest = rows.select(pl.col("as_of").max()).collect().item()
        if newest is not None:
            return rows.filter(pl.col("as_of") == newest).collect()
    raise NotEnoughDataError(
        f"No customer has been scored{f' by {as_of}' if as_of else ' yet'}.",
        file="customer_scores",
        remedy="run `purvey score customers`",
    )


def _customers(lake: Lake) -> pl.DataFrame:
    """Who may be contacted, as it is known now.

    Raises:
        NotEnoughDataError: There is no such table.
        LakeError: It cannot be read.
    """
    if not lake.exists("customers"):
        raise NotEnoughDataError(
            "There is no customers table: nobody knows who may be contacted, so nobody is.",
            file="customers",
            remedy="bring a source `table: customers` with customer_id, do_not_contact and consent",
        )
    try:
        return lake.read("customers")
    except (LakeError, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise LakeError(
            "The customers table cannot be read: nobody knows who may be contacted, so nobody is.",
            file="customers",
            remedy="ingest it anew, or restore the shop from a backup (purvey restore)",
        ) from error


def _results(lake: Lake) -> pl.DataFrame:
    return lake.read_or_empty("campaign_results")


def _last_list(known: pl.DataFrame, campaign: Campaign, day: date) -> pl.DataFrame:
    """The newest list of the campaign before a day."""
    earlier = known.filter(pl.col("campaign") == campaign.name, pl.col("as_of") < day)
    return earlier.filter(pl.col("as_of") == pl.col("as_of").max())


def _one_list(known: pl.DataFrame, list_id: str | None, campaign: str | None) -> pl.DataFrame:
    if (list_id is None) == (campaign is None):
        raise ConfigError("It is not clear which list is meant.", remedy="name a list, or a campaign with --campaign")
    mine = known.filter(pl.col("list_id") == list_id if list_id else pl.col("campaign") == campaign)
    mine = mine.filter(pl.col("as_of") == pl.col("as_of").max())
    if mine.is_empty():
        last = ", ".join(known["list_id"].unique().sort().tail(5)) or "none yet: purvey lists build"
        raise ConfigError(f"There is no list of {list_id or campaign!r}.", remedy=f"lists: {last}")
    return mine


def _refuse_if_expired(rows: pl.DataFrame, day: date) -> None:
    expires_on: date = rows["expires_on"][0]
    if day > expires_on:
        raise OutputError(
            f"The list {rows['list_id'][0]} expired on {expires_on}: its customers are others by {day}.",
            remedy="purvey lists build",
        )


def _keep(lake: Lake, name: str, built: lists.Built) -> bool:
    where = {"list_id": name}
    written = [
        lake.replace_where("lists", built.rows, where),
        lake.replace_where("list_suppressions", built.reasons, where | {"stage": "build"}),
        lake.replace_where("list_leavers", built.leavers, where),
    ]
    return any(one.changed for one in written)


def _explain(settings: Settings, lake: Lake, tracker: Tracker, day: date) -> bool:
    """Find the reasons of all customers on lists of a day, and what to offer them; whether any are new."""
    listed = lake.read_or_empty("lists").filter(as_of=day)["customer_id"].unique().sort().to_list()
    offered = offer_jobs.offer_to_listed(settings, lake, listed, day)
    return (bool(listed) and jobs.explain(settings, lake, tracker, listed, as_of=day).changed) or offered


def _told(name: str, built: lists.Built) -> dict[str, object]:
    rows, treated = built.rows, built.rows.filter(~pl.col("control_group"))
    return {
        "list_id": name,
        "customers": rows.height,
        "control_group": rows.height - treated.height,
        "entered": rows.filter(change="entered").height,
        "left": built.leavers.height,
        "cost": round(float(treated["cost"].sum()), 2),
        "expected_profit": round(float(treated["expected_profit"].sum()), 2),
        "response_rate": rows["response_rate"].max(),
        "response_basis": rows["response_basis"].max(),
    }


def _in_words(reasons: Sequence[pl.DataFrame]) -> pl.DataFrame:
    if not reasons:
        return TABLES["list_suppressions"].schema.create_empty()
    words = pl.col("reason").replace_strict(_WORDS, return_dtype=pl.String)
    return pl.concat(reasons).select("list_id", "reason", "customers", meaning=words)
