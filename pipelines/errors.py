"""Everything Purvey raises on purpose: one small tree, each error with the place and the remedy.

A user who can mend the cause never sees a traceback: the command line prints `str(error)` and ends with
`error.exit_code`; the API turns it into a problem document.
"""

from __future__ import annotations


class PurveyError(Exception):
    """What went wrong, where, and what to do about it.

    Args:
        message: One sentence, in a planner's words.
        file: The file or table it concerns.
        column: The column it concerns.
        row: The row it concerns, counted as in the file (first data row = 1).
        rule: The rule that was broken.
        remedy: What the reader can do now.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        file: object = None,
        column: str | None = None,
        row: int | None = None,
        rule: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = {
            name: value
            for name, value in (("file", file), ("column", column), ("row", row), ("rule", rule))
            if value is not None
        }
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.message]
        lines += [f"  {name}: {value}" for name, value in self.where.items()]
        if self.remedy:
            lines.append(f"  what to do: {self.remedy}")
        return "\n".join(lines)


class ConfigError(PurveyError):
    """The configuration is wrong: unknown key, impossible value, missing secret."""

    exit_code = 2


class SourceError(PurveyError):
    """A source cannot be read, or lacks what its table needs."""

    exit_code = 3


class DataError(PurveyError):
    """A source was read, but too much of it breaks the rules of its table."""

    exit_code = 3


class NotEnoughDataError(PurveyError):
    """What is in the lake is too little for what was asked."""

    exit_code = 4


class LakeError(PurveyError):
    """The lake cannot be read or written."""

    exit_code = 5


class SchemaVersionError(LakeError):
    """A table was written by a newer program than this one."""


class ReleaseError(PurveyError):
    """A release is missing, damaged or from another program version."""

    exit_code = 6


class OutputError(PurveyError):
    """A file for the user cannot be written."""


class DecisionError(PurveyError):
    """An order line cannot become what somebody wants of it, or there is no such line."""

    exit_code = 9


class TrackingError(PurveyError):
    """MLflow, its registry or a registered model is not what it should be."""

    exit_code = 7


class AccessError(PurveyError):
    """An API key is missing, expired or not allowed to do this."""

    exit_code = 8


class StoreError(PurveyError):
    """The API's own store cannot be opened, reached or written."""

    exit_code = 10
