"""Posts with random keys and bodies against a model: a dictionary of what was answered."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import inbox
from pipelines.database import Database
from serving.access.audit import Entry
from serving.auth import Access
from serving.idempotency import _done
from serving.problems import Problem
from tests.made_shop import made_settings

POSTS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([None, "k1", "k2"]), st.sampled_from(["x", "y"])),
    max_size=12,
)


@given(posts=POSTS)
@settings(max_examples=25, deadline=None)
def test_each_key_works_once(posts: list[tuple[str, str | None, str]]) -> None:
    known: dict[tuple[str, str], tuple[str, bytes]] = {}
    worked = 0
    with tempfile.TemporaryDirectory() as folder, closing(Database(made_settings(Path(folder)))) as database:
        for sender, key, body in posts:

            def effect(connection, access, body=body):
                receipt = inbox.post(connection, inbox.FEEDBACK, [{"text": body}], key=access.prefix)
                return {"receipt": receipt}, Entry("outcome", access.name, access.prefix)

            before = known.get((sender, key)) if key else None
            who = Access(sender, sender, frozenset())
            if before is not None and before[0] != body:
                with pytest.raises(Problem, match="another body"):
                    _done(database, who, key, body, effect)
                continue
            answer, replayed = _done(database, who, key, body, effect)
            assert replayed == (before is not None)
            assert before is None or before == (body, answer)
            worked += not replayed
            if key:
                known[sender, key] = body, answer
        assert inbox.waiting(database, inbox.FEEDBACK).height == worked
