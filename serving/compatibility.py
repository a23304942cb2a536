"""Which changes of an OpenAPI document would break a program that was written against the one before.

What a program sends may be widened but not narrowed; what it gets may be narrowed but not widened. So the same change
of a schema is harmless on one side and breaking on the other, and every schema is compared from the side it stands on.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

Json = dict[str, Any]
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
# A smaller figure allows less for the first, a larger one for the second.
_CEILINGS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_FLOORS = ("minimum", "exclusiveMinimum", "minLength", "minItems")


class Side(Enum):
    """Who writes what a schema describes."""

    SENT = "request"
    GOT = "answer"


class _Two(NamedTuple):
    """The documents that are compared."""

    before: Json
    after: Json


def breaking_changes(before: Json, after: Json) -> list[str]:
    """What a program written against `before` would stumble over in `after`, each in one line.

    Args:
        before: The OpenAPI document that was promised.
        after: The one that is served.

    Example:
        >>> breaking_changes({"paths": {"/v1/x": {"get": {}}}}, {"paths": {}})
        ['get /v1/x is gone']
    """
    two = _Two(before, after)
    found: list[str] = []
    for path, methods in before["paths"].items():
        for method in (method for method in methods if method in _METHODS):
            now = after["paths"].get(path, {}).get(method)
            name = f"{method} {path}"
            found += [f"{name} is gone"] if now is None else _of_operation(two, methods[method], now, name)
    return list(dict.fromkeys(found))


def _of_operation(two: _Two, old: Json, new: Json, name: str) -> Iterator[str]:
    yield from _of_parameters(two, old, new, name)
    yield from _of_body(two, old.get("requestBody"), new.get("requestBody"), name)
    for status, answer in old.get("responses", {}).items():
        if not status.startswith("2"):
            continue  # all errors share one schema, and another kind of error is no break
        now = new.get("responses", {}).get(status)
        if now is None:
            yield f"{name}: no answer {status} any more"
            continue
        yield from _of_content(two, answer.get("content", {}), now.get("content", {}), f"{name} {status}", Side.GOT)


def _of_parameters(two: _Two, old: Json, new: Json, name: str) -> Iterator[str]:
    was = {(one["in"], one["name"]): one for one in old.get("parameters", [])}
    now = {(one["in"], one["name"]): one for one in new.get("parameters", [])}
    for (place, parameter), one in was.items():
        at = f"{name}: parameter {parameter}"
        if (place, parameter) not in now:
            yield f"{at} is gone"
            continue
        if now[place, parameter].get("required") and not one.get("required"):
            yield f"{at} is required now"
        yield from _of_schema(two, one.get("schema", {}), now[place, parameter].get("schema", {}), at, Side.SENT)
    for (place, parameter), one in now.items():
        if (place, parameter) not in was and one.get("required"):
            yield f"{name}: parameter {parameter} is new and required"


def _of_body(two: _Two, old: Json | None, new: Json | None, name: str) -> Iterator[str]:
    if old is None:
        if new is not None and new.get("required"):
            yield f"{name}: a body is required now"
        return
    if new is None:
        yield f"{name}: takes no body any more"
        return
    if new.get("required") and not old.get("required"):
        yield f"{name}: the body is required now"
    yield from _of_content(two, old["content"], new["content"], f"{name} body", Side.SENT)


def _of_content(two: _Two, old: Json, new: Json, at: str, side: Side) -> Iterator[str]:
    for kind, content in old.items():
        if kind not in new:
            yield f"{at}: no {kind} any more"
        else:
            yield from _of_schema(two, content.get("schema", {}), new[kind].get("schema", {}), at, side)


def _of_schema(
    two: _Two, old: Json, new: Json, at: str, side: Side, seen: frozenset[tuple[str, str]] = frozenset()
) -> Iterator[str]:
    """Where a schema breaks what it said before. `seen` are the pairs of named schemas above: some hold themselves."""
    pair = (old.get("$ref", ""), new.get("$ref", ""))
    if all(pair):
        if pair in seen:
            return
        seen = seen | {pair}
    old, new = _resolved(two.before, old), _resolved(two.after, new)
    before, after = _kinds(two.before, old), _kinds(two.after, new)
    lost = _less(before, after) if side is Side.SENT else _less(after, before)
    if lost:
        verb = "takes no" if side is Side.SENT else "may be"
        yield f"{at}: {verb} {', '.join(sorted(lost))}{' any more' if side is Side.SENT else ' now'}"
    yield from _of_bounds(old, new, at, side)
    for was, now in _alternatives(two, old, new):
        if (was, now) != (old, new):
            yield from _of_schema(two, was, now, at, side, seen)
    yield from _of_properties(two, old, new, at, side, seen)
    if "items" in old and "items" in new:
        yield from _of_schema(two, old["items"], new["items"], f"{at}[]", side, seen)


def _of_properties(
    two: _Two, old: Json, new: Json, at: str, side: Side, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    was, now = old.get("properties", {}), new.get("properties", {})
    if not was and not now:
        return
    for name in was:
        if name not in now:
            yield f"{at}.{name} is gone"
        else:
            yield from _of_schema(two, was[name], now[name], f"{at}.{name}", side, seen)
    promised, asked = set(old.get("required", [])), set(new.get("required", []))
    if side is Side.SENT:
        yield from (f"{at}.{name} is required now" for name in sorted(asked - promised))
    else:
        yield from (f"{at}.{name} may be missing now" for name in sorted((promised - asked) & now.keys()))


def _of_bounds(old: Json, new: Json, at: str, side: Side) -> Iterator[str]:
    if side is Side.GOT:
        return
    for words, sign in ((_CEILINGS, 1), (_FLOORS, -1)):
        for word in (word for word in words if word in new):
            if word not in old or sign * new[word] < sign * old[word]:
                yield f"{at}: {word} is {new[word]} now"
    if new.get("pattern") is not None and new["pattern"] != old.get("pattern"):
        yield f"{at}: has another pattern now"


def _resolved(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _options(document: Json, schema: Json) -> list[Json]:
    schema = _resolved(document, schema)
    parts = schema.get("anyOf") or schema.get("oneOf")
    return [option for part in parts for option in _options(document, part)] if parts else [schema]


def _kinds(document: Json, schema: Json) -> set[str]:
    """What a value may be: its types, or the very values where they are listed. `anything` for no limit."""
    kinds: set[str] = set()
    for option in _options(document, schema):
        listed = [option["const"]] if "const" in option else option.get("enum")
        if listed is not None:
            kinds |= {repr(value) for value in listed}
        elif isinstance(option.get("type"), list):
            kinds |= set(option["type"])
        else:
            kinds.add(option.get("type", "object" if "properties" in option else "anything"))
    return kinds


def _less(wide: set[str], narrow: set[str]) -> set[str]:
    """What the first allows and the second does not."""
    if "anything" in narrow:
        return set()
    covers = {"integer": "number"}
    return {
        kind
        for kind in wide
        if kind not in narrow and covers.get(kind) not in narrow and not (kind.startswith("'") and "string" in narrow)
    }


def _alternatives(two: _Two, old: Json, new: Json) -> Iterator[tuple[Json, Json]]:
    """Of schemas with alternatives the pairs that stand for the same type: objects with objects, lists with lists."""
    if not any(word in schema for schema in (old, new) for word in ("anyOf", "oneOf")):
        return
    after = {str(one.get("type")): one for one in reversed(_options(two.after, new))}
    for one in _options(two.before, old):
        if str(one.get("type")) in after:
            yield one, after[str(one.get("type"))]
