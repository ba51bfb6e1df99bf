"""Figures as people read them: thousands separated, units small, never more precision than is known."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from event_stream_engine.kernel.clock import parse_instant
from event_stream_engine.kernel.windows import Window

UNKNOWN = "–"
_MINUS = "−"


def format_number(value: float | None) -> str:
    """Write whole numbers in full and others with at most three significant digits: `12,482`, `3.14`, `0.0452`."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if value == round(value) or size >= 100:
        text = f"{size:,.0f}"
    elif size >= 1:
        text = f"{size:.{1 if size >= 9.995 else 2}f}".rstrip("0").rstrip(".")
    else:
        text = f"{float(f'{size:.3g}'):f}".rstrip("0").rstrip(".")
    return text if value >= 0 or text == "0" else _MINUS + text


def format_plain(value: float) -> str:
    """Write a number as a field of a form takes it: no separators, no digits that say nothing."""
    return f"{round(value, 4):.10g}"


def format_percent(value: float | None) -> str:
    """Write 0..100 with two decimals and without the sign, which the page sets smaller."""
    return UNKNOWN if value is None else f"{value:,.2f}"


def format_rate(value: float | None) -> str:
    return UNKNOWN if value is None else f"{format_percent(value)} %"


def format_figure(value: float | None, unit: str) -> str:
    return format_percent(value) if unit == "%" else format_number(value)


def format_change(change: float, unit: str) -> str:
    """Write a difference with its sign: `+125`, `+8.1 %`, `−0.06`, `0`."""
    number = format_number(round(abs(change), 2))
    if number == "0":
        return "0"
    sign = "+" if change > 0 else _MINUS
    return f"{sign}{number} {unit}".rstrip()


def format_growth(percent: float) -> str:
    """Write a relative change as programs read it: `+15%`, `-2.1%`, `0%`."""
    return f"{percent:+.1f}".removesuffix(".0") + "%" if percent else "0%"


def format_hour(hour: int) -> str:
    """Write an hour of the day: `14:00-15:00`."""
    return f"{hour:02d}:00-{(hour + 1) % 24:02d}:00"


def format_duration(seconds: float | None) -> str:
    """Write a duration with its two largest units: `2.4 ms`, `120 ms`, `3.1 s`, `41 s`, `2 m 05 s`, `3 h`, `4 d 02 h`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.9995:
        ms = max(seconds * 1000, 0.1) if seconds else 0
        return (f"{ms:.1f}".removesuffix(".0") if ms < 9.95 else f"{ms:.0f}") + " ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _join(minutes, "m", rest, "s") if minutes else f"{rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return _join(hours, "h", minutes, "m")
    days, hours = divmod(round(seconds / 3600), 24)
    return _join(days, "d", hours, "h")


def _join(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small:02d} {small_unit}" if small else f"{large} {large_unit}"


def format_clock(at: datetime | str, zone: ZoneInfo) -> str:
    """Write the time of day with seconds in a zone. An instant may come as ISO text, as the API writes it."""
    return _local(at, zone).strftime("%H:%M:%S")


def format_moment(at: datetime | str, zone: ZoneInfo) -> str:
    local = _local(at, zone)
    return f"{local.day} {local:%b %H:%M}"


def format_date(at: datetime | str, zone: ZoneInfo) -> str:
    local = _local(at, zone)
    return f"{local.day} {local:%b %Y %H:%M}"


def format_day(on: date) -> str:
    return f"{on.day} {on:%b %Y}"


def format_whole(value: float | None) -> str:
    """Write a reckoned number of whole things."""
    return UNKNOWN if value is None else format_number(round(value))


def format_bytes(count: int | None) -> str:
    """Write a size: `812 B`, `3.4 kB`, `120 MB`."""
    if count is None:
        return UNKNOWN
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{format_number(round(size, 1))} {unit}"
        size /= 1000
    return f"{format_number(round(size, 1))} GB"


def format_window(window: Window, zone: ZoneInfo) -> str:
    """Write a window shortly, the date once when both ends share it: `2 Mar 15:45 – 16:45`."""
    since, until = window.since.astimezone(zone), window.until.astimezone(zone)
    end = f"{until:%H:%M}" if since.date() == until.date() else format_moment(until, zone)
    return f"{format_moment(since, zone)} – {end}"


def _local(at: datetime | str, zone: ZoneInfo) -> datetime:
    return (parse_instant(at) if isinstance(at, str) else at).astimezone(zone)
