"""Cursors: whatever is asked, they come back as they were made, and no other text is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serving.cursors import Cursors, Place
from serving.problems import Problem

RING = Cursors(b"k" * 32)
PLACES = st.builds(Place, st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.integers(0, 2**40))
QUESTIONS = st.lists(st.one_of(st.integers(-9, 9), st.none(), st.text("abc=/", max_size=5)), max_size=4)


@given(PLACES, QUESTIONS)
def test_a_cursor_leads_back_to_its_place(place: Place, question: list[object]) -> None:
    assert RING.read(RING.make(place, question), question) == place


@given(PLACES, QUESTIONS, QUESTIONS)
def test_a_cursor_answers_no_other_question(place: Place, question: list[object], other: list[object]) -> None:
    assume(question != other)
    with pytest.raises(Problem, match="not one of ours"):
        RING.read(RING.make(place, question), other)


@given(PLACES, st.integers(0, 200), st.sampled_from("AZaz09-_"))
def test_a_changed_cursor_is_refused_or_means_the_same(place: Place, at: int, letter: str) -> None:
    cursor = RING.make(place, [])
    at %= len(cursor)
    changed = cursor[:at] + letter + cursor[at + 1 :]
    try:
        assert RING.read(changed, []) == place  # the last letter has bits that say nothing
    except Problem:
        assert changed != cursor


@given(st.one_of(st.text(max_size=60), st.text("AZaz09-_=", max_size=80)), PLACES)
def test_no_other_text_is_a_cursor(text: str, place: Place) -> None:
    for forged in (text, Cursors(b"x" * 32).make(place, [])):
        with pytest.raises(Problem, match="not one of ours"):
            RING.read(forged, [])
