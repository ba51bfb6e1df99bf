"""Rates with their intervals, and percentiles from logarithmic buckets.

The buckets are those of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 2019) with a relative error of 1 %. The same gamma for ever: rows written today must
add up with rows written in three years. SQL computes the index with the same formula (`sketch_index` in the
migrations); a test holds the two together.
"""

import math
from collections.abc import Iterable, Mapping

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
SMALLEST_SECONDS = 0.001
_LOG_GAMMA = math.log(GAMMA)
_Z_95 = 1.959963984540054  # the normal distribution's 97.5 % quantile


def sketch_index(seconds: float, smallest: float = SMALLEST_SECONDS) -> int:
    """Return the bucket of a duration; what is below the smallest shares its bucket."""
    return math.ceil(math.log(max(seconds, smallest)) / _LOG_GAMMA)


def sketch_value(index: int) -> float:
    """Return the value in seconds that is within 1 % of everything in the bucket."""
    return float(2 * GAMMA**index / (GAMMA + 1))


def sketch_percentiles(counts: Mapping[int, int], percents: Iterable[int]) -> dict[str, float | None]:
    """Return nearest-rank percentiles as `{"p50": seconds, …}`; all None when nothing was counted."""
    total = sum(counts.values())
    ordered = sorted(counts.items())
    result: dict[str, float | None] = {}
    for percent in percents:
        value: float | None = None
        rank, seen = math.ceil(percent / 100 * total), 0
        for index, count in ordered:
            seen += count
            if count and seen >= rank:
                value = sketch_value(index)
                break
        result[f"p{percent}"] = value
    return result


def percent(numerator: int, denominator: int) -> float | None:
    """Return numerator / denominator as 0..100 with two decimals, None when the denominator is 0."""
    return round(numerator * 100 / denominator, 2) if denominator else None


def wilson(numerator: int, denominator: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a rate as 0..100 with two decimals, None when the denominator is 0.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not denominator:
        return None
    share, weight = numerator / denominator, _Z_95**2 / denominator
    middle = (share + weight / 2) / (1 + weight)
    reach = math.sqrt(weight * (share * (1 - share) + weight / 4)) / (1 + weight)
    return round(100 * max(0.0, middle - reach), 2), round(100 * min(1.0, middle + reach), 2)


def change_percent(now: float, before: float) -> float | None:
    """Return the relative change in percent with one decimal, None when there was nothing before."""
    return round((now - before) * 100 / before, 1) if before else None
