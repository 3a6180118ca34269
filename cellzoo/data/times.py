"""Times as tables have them: numbers, durations, or dates."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cellzoo.errors import UserError

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
_MAYBE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_CLOCK = re.compile(r"(?:(\d+) days?,? )?(\d+):([0-5]\d):([0-5]\d(?:[.,]\d+)?)")
_WITH_UNIT = re.compile(r"(\d+(?:[.,]\d+)?)\s*([a-z]+)\.?", re.IGNORECASE)
HOURS = {  # of units, in lower case
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1 / 3600),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 1 / 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 1),
    **dict.fromkeys(("d", "day", "days"), 24),
}
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?: (\d{1,2}):(\d\d)(?::(\d\d))?)?")
_YEAR_FIRST = re.compile(r"\d{4}[-/]\d\d[-/]\d\d([ T].+)?")
_CURE = "write a number, hours:minutes:seconds, or a date such as 2026-03-01 14:30:00"


def read_times(path: Path, cells: Sequence[tuple[int, str]], hours: float = 1.0) -> list[float]:
    """Reads a column of times.

    Args:
        path: of the table, for errors.
        cells: line number and text of each.
        hours: by which numbers are multiplied; they are as they are with 1.

    Returns:
        Numbers (``0.5`` or ``0,5``) times ``hours``; durations (``00:05:00``, ``5 min``) in hours;
        dates in hours since the earliest of them; NaN for empty cells.

    Raises:
        UserError: one is none of these or could mean two things, or the column mixes these kinds.
    """
    read = [(line, text, *_read(path, line, text)) for line, text in cells if text]
    kinds = {kind: (line, text) for line, text, kind, _ in reversed(read)}
    if len(kinds) > 1:
        (line, text), (other_line, other) = sorted(kinds.values())[:2]
        raise UserError(
            f"{path}: line {other_line}: the time {other!r} is written otherwise than {text!r} in "
            f"line {line}, write all times alike"
        )
    values = {line: value for line, _, _, value in read}
    if "date" in kinds:
        try:
            first = min(values.values())
        except TypeError:
            raise UserError(
                f"{path}: the column time has dates with and without a time zone, write all alike"
            ) from None
        values = {line: (date - first).total_seconds() / 3600 for line, date in values.items()}
    elif "number" in kinds:
        commas = [(line, text) for line, text, *_ in read if "," in text]
        if commas and all(_MAYBE_THOUSANDS.fullmatch(text) for _, text in commas):
            line, text = commas[0]
            raise UserError(
                f"{path}: line {line}: the time {text!r} may have a decimal or a thousands mark, "
                "write it with a point or without a mark"
            )
        values = {line: value * hours for line, value in values.items()}
    return [values[line] if text else math.nan for line, text in cells]


def _read(path: Path, line: int, text: str) -> tuple[str, float | datetime]:
    """The kind of a time, and its value."""
    parsers: dict[str, Callable[[str], float | datetime | None]] = {
        "number": _number,
        "duration": _duration,
        "date": _date,
    }
    for kind, parse in parsers.items():
        try:
            value = parse(text)
        except (ValueError, OverflowError):  # such as the 31st of February
            break
        if value is not None:
            return kind, value
    may_be = " may mean two things" if re.fullmatch(r"\d+:\d\d|\d+/\d+/\d+.*", text) else ""
    raise UserError(
        f"{path}: line {line}: the time {text!r}{may_be or ' is not understood'}, {_CURE}"
    )


def _number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text.replace(",", "."))
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _duration(text: str) -> float | None:
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = clock.groups()
        second = float(seconds.replace(",", "."))
        return 24 * int(days or 0) + int(hours) + int(minutes) / 60 + second / 3600
    worded = _WITH_UNIT.fullmatch(text)
    if worded and worded[2].lower() in HOURS:
        return float(worded[1].replace(",", ".")) * HOURS[worded[2].lower()]
    return None


def _date(text: str) -> datetime | None:
    if found := _DAY_FIRST.fullmatch(text):
        day, month, year, hour, minute, second = (int(part or 0) for part in found.groups())
        return datetime(year, month, day, hour, minute, second)
    if _YEAR_FIRST.fullmatch(text):
        date = datetime.fromisoformat(text.replace("/", "-"))
        return date.astimezone(UTC) if date.tzinfo else date
    return None
