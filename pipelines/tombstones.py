"""Who was forgotten, as salted fingerprints: a file that names them again is known, and tells nobody who they were.

A fingerprint is BLAKE2b keyed with the shop's salt (RFC 7693): without the salt no list of customers can be tried
against it. The salt lies in `state/salt`, readable by its owner only. Orders of forgotten customers are renamed by the
same means, always alike: a file that comes again finds the lines it brought before and counts no sale twice.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipelines.errors import LakeError
from pipelines.lake import Lake
from pipelines.settings import Settings

TABLE = "tombstones"
RULE = "forgotten_customer"  # sets aside rows that say something of a forgotten customer
ORDER = "forgotten-"  # how a renamed order begins
_DIGEST_BYTES = 16
_SALT_BYTES = 32


@dataclass(frozen=True)
class Tombstones:
    """What is needed to know forgotten customers again.

    Attributes:
        salt: The key of the fingerprints.
        customers: Fingerprints of forgotten customers.
        orders: New names of their orders.
    """

    salt: bytes
    customers: frozenset[str] = frozenset()
    orders: frozenset[str] = field(default=frozenset(), repr=False)

    def digests(self, customers: pl.Series) -> pl.Series:
        """The fingerprint of each customer; null of null."""
        return _each(customers, lambda name: _digest(self.salt, b"customer", name))

    def named(self, customers: pl.Series) -> pl.Series:
        """Whether each of these customers was forgotten."""
        return self.digests(customers).is_in(list(self.customers)).fill_null(value=False)

    def anonymise(self, lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """Take forgotten customers out of order lines: the sale stays, as that of a guest, under another order.

        A guest's line of an order that was renamed before is theirs too: their system may have forgotten them as well.

        Args:
            lines: `order_id`, `customer_id` and, where there is one, `cancels_order_id`.

        Returns:
            The lines, and which of them (True) were theirs.

        Example:
            >>> stones = Tombstones(b"salt")
            >>> stones = Tombstones(b"salt", frozenset(stones.digests(pl.Series(["ann"]))))
            >>> lines = pl.DataFrame({"order_id": ["1", "2"], "customer_id": ["ann", "bob"]})
            >>> guest, theirs = stones.anonymise(lines)
            >>> guest["customer_id"].to_list(), guest["order_id"][1], theirs.to_list()
            ([None, 'bob'], '2', [True, False])
        """
        named, renamed = self.named(lines["customer_id"]), self._renamed(lines["order_id"])
        orders = list(self.orders.union(renamed.filter(named).drop_nulls()))
        theirs = (named | (lines["customer_id"].is_null() & renamed.is_in(orders))).fill_null(value=False)
        columns = [
            pl.when(theirs).then(renamed).otherwise("order_id").alias("order_id"),
            pl.when(~theirs).then("customer_id").alias("customer_id"),
        ]
        if "cancels_order_id" in lines.columns:
            cancelled = self._renamed(lines["cancels_order_id"])
            known = theirs | cancelled.is_in(orders).fill_null(value=False)
            columns.append(pl.when(known).then(cancelled).otherwise("cancels_order_id").alias("cancels_order_id"))
        return lines.with_columns(columns), theirs

    def _renamed(self, orders: pl.Series) -> pl.Series:
        """What each order is called once its customer is forgotten; a name of that kind is kept."""
        return _each(
            orders,
            lambda name: name if name.startswith(ORDER) else ORDER + _digest(self.salt, b"order", name),
        )


def tombstones(settings: Settings, lake: Lake) -> Tombstones | None:
    """Who was forgotten; None while nobody was.

    Raises:
        LakeError: Somebody was, but the salt is gone: nobody can tell whom a file must not bring back.
    """
    if not lake.exists(TABLE):
        return None
    if not _salt_file(settings).exists():
        raise LakeError(
            "Customers were forgotten, but the salt by which they are known again is gone.",
            file=_salt_file(settings),
            remedy="put the file back from a backup: without it, files would bring forgotten customers back",
        )
    orders: set[str] = set()
    for table in ("order_lines", "superseded_lines"):
        if lake.exists(table):
            renamed = lake.scan(table).filter(pl.col("order_id").str.starts_with(ORDER)).select("order_id").unique()
            orders.update(renamed.collect()["order_id"])
    return Tombstones(
        _salt_file(settings).read_bytes(), frozenset(lake.read(TABLE)["customer_digest"]), frozenset(orders)
    )


def make_salt(settings: Settings) -> bytes:
    """The shop's salt, made where there is none yet; only its owner may read the file."""
    file = _salt_file(settings)
    if not file.exists():
        write_private(file, secrets.token_bytes(_SALT_BYTES))
    return file.read_bytes()


def write_private(file: Path, content: bytes) -> None:
    """Write a file that only its owner may read; it appears whole or not at all, and is on the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
        new.write(content)
        new.flush()
        os.fsync(new.fileno())
    unfinished.replace(file)


def _salt_file(settings: Settings) -> Path:
    return settings.home / "state" / "salt"


def _digest(salt: bytes, kind: bytes, name: str) -> str:
    return hashlib.blake2b(name.encode(), key=salt, person=kind, digest_size=_DIGEST_BYTES).hexdigest()


def _each(names: pl.Series, of: Callable[[str], str]) -> pl.Series:
    """A function of every name; each is worked out once."""
    known = {name: of(name) for name in names.drop_nulls().unique()}
    return names.cast(pl.String).replace_strict(known, default=None, return_dtype=pl.String)
