"""Whatever people, runs, suppliers and crashes do, and in whatever order: no need is ordered twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from features.tables import TABLES
from pipelines.supply.netting import enter, follow, on_order, propose
from pipelines.supply.order_export import planned, sheet
from pipelines.supply.orders import (
    ACKNOWLEDGED,
    APPROVED,
    CANCELLED,
    EDITED,
    EXPORTED,
    EXPORTING,
    HELD,
    NEXT,
    PROPOSED,
    RECEIVED,
    REJECTED,
    advance,
    broken,
    columns,
    current,
)

KEYS = ["sku"]
SERIES = ["A"]
NEED = 10.0  # units that each series shall have; nothing is ever sold
MONDAY = date(2024, 4, 15)


class Shop(RuleBasedStateMachine):
    """A ledger beside a plain model of the system that really orders: it knows an order by its reference alone."""

    def __init__(self) -> None:
        super().__init__()
        known = TABLES["decisions"].schema_with({"sku": pl.String()}, ("sku",)).create_empty()
        self.decisions = known.select(columns(KEYS))
        self.today = MONDAY
        self.placed: dict[str, tuple[str, float]] = {}  # reference → series and units really ordered and not yet in
        self.shelf = dict.fromkeys(SERIES, 0.0)
        self.files: dict[str, list[tuple[str, str, float]]] = {}
        self.read: set[str] = set()
        self.seen: set[str] = set()
        self.snapshot()

    # -- the shop's own world ----------------------------------------------------------------------------------

    @rule()
    def snapshot(self) -> None:
        """The shop's tables are taken in anew."""
        self.stock = pl.DataFrame({"sku": SERIES, "on_hand": [self.shelf[sku] for sku in SERIES]}).with_columns(
            as_of=pl.lit(self.today)
        )
        rows = [(sku, "S", self.today, units, name) for name, (sku, units) in self.placed.items()]
        types = {"sku": pl.String, "supplier_id": pl.String, "due_on": pl.Date, "quantity": pl.Float64}
        self.open_supply = pl.DataFrame(rows, schema=types | {"order_id": pl.String}, orient="row")

    @rule()
    def a_night_passes(self) -> None:
        self.today += timedelta(days=1)

    @rule(posted=st.booleans(), nights=st.integers(0, 1))
    def usual_day(self, posted, nights) -> None:
        """What is mostly done: run, approve, send, order, and on some days the goods come at once."""
        self.today += timedelta(days=nights)
        self.run(0)
        for sku in SERIES:
            mine = self.lines().filter(pl.col("sku") == sku, pl.col("state") == PROPOSED)
            self.add(advance(mine, APPROVED, who="ann", why="so", at=self.now()))
        self.export("done")
        self.buyer_reads_files()
        for name in sorted(self.placed) if posted else []:
            self.arrive(name, posted=True)

    @rule()
    def buyer_reads_files(self) -> None:
        """The system that orders takes every file it finds; what it knows by its reference it does not take again."""
        for rows in self.files.values():
            for name, sku, units in rows:
                if name not in self.seen:
                    self.seen.add(name)
                    self.placed[name] = (sku, units)

    @rule(data=st.data(), posted=st.booleans())
    def goods_arrive(self, data, posted) -> None:
        if self.placed:
            self.arrive(data.draw(st.sampled_from(sorted(self.placed))), posted=posted)

    def arrive(self, name: str, *, posted: bool) -> None:
        sku, units = self.placed.pop(name)
        self.shelf[sku] += units
        mine = self.lines().filter(pl.col("order_line") == name.removeprefix("REC-"))
        if posted and mine["state"].item() in (EXPORTED, ACKNOWLEDGED):
            self.add(advance(mine, RECEIVED, who="ann", why="came", at=self.now()))

    # -- the ledger --------------------------------------------------------------------------------------------

    @rule(days=st.integers(-1, 1))
    def run_for(self, days) -> None:
        self.run(days)

    def run(self, days: int) -> None:
        """A run: the rule is to fill up to the need."""
        as_of, at, lines = self.today + timedelta(days=days), self.now(), self.lines()
        followed = follow(lines, self.open_supply, keys=KEYS, as_of=as_of, lapse_days=None, at=at)
        lines = enter(lines, followed, KEYS)
        coming = on_order(lines, self.open_supply, self.stock, keys=KEYS, as_of=as_of, timezone="UTC")
        supply = pl.concat([self.open_supply, coming], how="diagonal_relaxed").group_by("sku").agg(pl.sum("quantity"))
        wanted = self.stock.join(supply, on="sku", how="left").with_columns(
            as_of=pl.lit(as_of),
            quantity=NEED - pl.col("on_hand") - pl.col("quantity").fill_null(0.0),
            supplier_id=pl.lit("S"),
            receive_on=pl.lit(as_of),
            unit_cost=pl.lit(1.0),
            state=pl.lit("proposed"),
            why=pl.lit("needed"),
        )
        name = f"{as_of}-{wanted['quantity'].to_list()}-{coming['order_id'].to_list()}"
        rows = propose(wanted.filter(pl.col("quantity") > 0), lines, keys=KEYS, as_of=as_of, run=name, at=at)
        self.add(followed)
        self.add(rows)
        again = propose(
            wanted.filter(pl.col("quantity") > 0), self.lines(), keys=KEYS, as_of=as_of, run=name, at=at
        )  # fmt: skip
        assert again.is_empty(), "the same run entered again adds nothing"

    @rule(data=st.data(), to=st.sampled_from([APPROVED, APPROVED, EDITED, HELD, REJECTED, ACKNOWLEDGED, CANCELLED]))
    def somebody_decides(self, data, to) -> None:
        lines = self.lines()
        able = lines.filter(pl.col("state").is_in([state for state, after in NEXT.items() if to in after]))
        if able.is_empty():
            return
        name = data.draw(st.sampled_from(able["order_line"].sort().to_list()))
        one = able.filter(order_line=name)
        if to == CANCELLED and f"REC-{name}" in self.seen - self.placed.keys():
            return  # no supplier takes back an order that has come
        changed = {"quantity": pl.col("quantity") - 1.0} if to == EDITED and one["quantity"].item() > 1 else {}
        if to == CANCELLED:  # the supplier is told, too
            self.placed.pop(f"REC-{name}", None)
            self.seen.add(f"REC-{name}")
        self.add(advance(one, to, who="bob", why="so", at=self.now(), **changed))

    @rule(ends=st.sampled_from(["intent", "files", "done", "done"]))
    def export_that(self, ends) -> None:
        self.export(ends)

    def export(self, ends: str) -> None:
        """An export that is cut short after its intent, after its files, or not at all."""
        ready = self.lines().filter(pl.col("state") == APPROVED)
        self.add(advance(planned(ready, Path("out"), "csv"), EXPORTING, who="ann", why="x", at=self.now()))
        if ends == "intent":
            return
        sending = self.lines().filter(pl.col("state") == EXPORTING)
        for one in sending.partition_by("file", maintain_order=True):
            rows = sheet(one, KEYS).select("reference", "sku", "quantity").rows()
            before = self.files.setdefault(one["file"][0], rows)
            assert before == rows, "a file that is written again is the same file"
        if ends == "done":
            self.add(advance(sending, EXPORTED, who="ann", why="x", at=self.now()))

    @precondition(lambda self: self.decisions.height)
    @invariant()
    def nothing_is_ordered_twice(self) -> None:
        lines = self.lines()
        in_files = [row for rows in self.files.values() for row in rows]
        assert len({name for name, *_ in in_files}) == len(in_files), "a line is in one file"
        sent = lines.filter(pl.col("state").is_in([EXPORTED, ACKNOWLEDGED, RECEIVED, CANCELLED]))
        assert {"REC-" + name for name in sent["order_line"]} <= {name for name, *_ in in_files}, "nothing is lost"
        to_come = lines.filter(pl.col("state").is_in([APPROVED, EXPORTING, EXPORTED, ACKNOWLEDGED]))
        for sku in SERIES:
            unread = to_come.filter(sku=sku).filter(~("REC-" + pl.col("order_line")).is_in(list(self.seen)))
            ordered = sum(units for series, units in self.placed.values() if series == sku)
            assert self.shelf[sku] + ordered + unread["quantity"].sum() <= NEED

    def teardown(self) -> None:
        assert broken(self.decisions).is_empty()

    def lines(self) -> pl.DataFrame:
        return current(self.decisions)

    def add(self, rows: pl.DataFrame) -> None:
        self.decisions = pl.concat([self.decisions, rows.select(columns(KEYS))])

    def now(self) -> datetime:
        return datetime.combine(self.today, time(12), UTC)


Shop.TestCase.settings = settings(
    max_examples=60, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestShop = Shop.TestCase
