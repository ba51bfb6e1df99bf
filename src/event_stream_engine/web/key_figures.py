"""The key figures of the rooms, drawn like those of `/monitoring`."""

from collections.abc import Sequence

from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.dashboard import Kpi


def make_figure(
    slug: str,
    value: float | None,
    *,
    window: Window | None,
    reason: str | None = None,
    change: float | None = None,
    change_unit: str = "",
    more_is_good: bool | None = None,
    points: Sequence[float | None] = (),
    share: tuple[int, int] | None = None,
) -> Kpi:
    """Return a key figure. `share`: numerator and denominator of a rate; `more_is_good`: None when it is neither."""
    is_judged = more_is_good is not None and bool(change)
    return Kpi(
        slug=slug,
        value=value,
        reason=reason if value is None else None,
        change=change,
        change_unit=change_unit,
        change_is_good=((change or 0) > 0) == more_is_good if is_judged else None,
        points=list(points),
        numerator=share[0] if share else None,
        denominator=share[1] if share else None,
        window=window,
    )
