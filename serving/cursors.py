"""Cursors of page walks: signed, and bound to one release, one question and one place in its answer.

A cursor is the base64 of a MAC (HMAC-SHA-256, cut to 128 bits) and of what it signs. Who has one can go on with the
walk it came from and do nothing else: not look at another place, not change the question half-way.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import orjson

from serving.problems import Problem

FILE = "cursor.key"
_KEY_BYTES = 32
_MAC_BYTES = 16
_QUESTION_BYTES = 8


@dataclass(frozen=True)
class Place:
    """Where a walk goes on.

    Attributes:
        release: The release it began on.
        start: How many items it has seen.
    """

    release: str
    start: int


class Cursors:
    """Makes cursors and reads them.

    Args:
        key: What they are signed with; every worker of a shop has the same.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, place: Place, question: object) -> str:
        """The cursor of a place in the answer to a question.

        Args:
            place: Release and place.
            question: Path and filters, plain data.
        """
        said = orjson.dumps([place.release, place.start])
        return base64.urlsafe_b64encode(self._mac(said, question) + said).decode().rstrip("=")

    def read(self, cursor: str, question: object) -> Place:
        """The place a cursor was made for.

        Raises:
            Problem: 422, it was not made here, or not for this question.
        """
        try:
            signed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            signed = b""
        mac, said = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(said, question)):
            raise Problem(
                "invalid-request",
                "The cursor is not one of ours, or belongs to another path or other filters.",
                errors=[("cursor", "send `next` as it came, with the filters of the page before")],
            )
        release, start = orjson.loads(said)
        return Place(release, start)

    def _mac(self, said: bytes, question: object) -> bytes:
        asked = hashlib.sha256(orjson.dumps(question, option=orjson.OPT_SORT_KEYS, default=str)).digest()
        return hmac.digest(self._key, asked[:_QUESTION_BYTES] + said, "sha256")[:_MAC_BYTES]


def signing_key(api_dir: Path) -> bytes:
    """The shop's key for cursors, made where there is none yet; only its owner may read the file.

    Workers that start together agree: the first link wins, and the others read what it links to.
    """
    file = api_dir / FILE
    if not file.exists():
        api_dir.mkdir(parents=True, exist_ok=True)
        unfinished = api_dir / f".{FILE}.{os.getpid()}"
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(secrets.token_bytes(_KEY_BYTES))
            new.flush()
            os.fsync(new.fileno())
        try:
            os.link(unfinished, file)
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
    return file.read_bytes()
