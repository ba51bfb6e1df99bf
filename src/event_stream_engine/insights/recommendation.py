"""What a recommendation is, and which of those that were looked for may be made.

A kind of recommendation examines something and returns an `Examination`: what it compared, each comparison with the
advice it would lead to, and what needs no statistics because it is a plain fact. `choose` then holds all comparisons of
all kinds of one run against each other, so that looking in many places does not find something everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from event_stream_engine.insights.statistics import holm

LEVEL = 0.05  # the chance that a run without any real difference recommends anything
GAIN_DAYS = 30

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Interval:
    """Where an effect lies with 95 % confidence, both ends in `unit`, such as `%` (of percentage points) or `messages`."""

    low: float
    high: float
    unit: str


@dataclass(frozen=True, slots=True)
class Action:
    """What one click does: its name in the API, the words of the button, what it is done to."""

    name: str
    label: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The rows behind a recommendation; each row has one cell for each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One piece of advice.

    `key`: the same for the same advice in every run. `subject`: what it is about, like `template:<id>`. `effect`: the
    measured difference in the unit of `interval`. `corrected_p`: after all comparisons of the run; None: a fact.
    `expected_gain_messages`: per 30 days; None has its reason in `gain_unknown`. `address`: the page of the rows behind.
    """

    key: str
    kind: str
    subject: str
    title: str
    text: str
    evidence: Evidence
    sample_size: int
    sample_unit: str
    address: str
    effect: float | None = None
    interval: Interval | None = None
    corrected_p: float | None = None
    expected_gain_messages: int | None = None
    gain_unknown: str | None = None
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison that was made: the p-value of its test, and the advice if it holds; None: it would lead to none."""

    p: float
    recommendation: Recommendation | None


@dataclass(frozen=True, slots=True)
class Examination:
    """What a kind looked at in one run.

    `looked_at`: in words, like "5 templates by delivery rate". `facts`: advice that rests on no comparison.
    `unknown`: why nothing could be said, such as too little history.
    """

    kind: str
    looked_at: str
    comparisons: Sequence[Comparison] = ()
    facts: Sequence[Recommendation] = ()
    unknown: str | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """The outcome of a run: what is recommended, greatest gain first, and all that was looked at for it."""

    recommendations: Sequence[Recommendation]
    examinations: Sequence[Examination] = field(default=())

    @property
    def compared(self) -> int:
        return sum(len(one.comparisons) for one in self.examinations)


def choose(examinations: Sequence[Examination]) -> Advice:
    """Recommend what is a fact, and what differs even though so much was compared (Holm, over all kinds)."""
    comparisons = [comparison for one in examinations for comparison in one.comparisons]
    corrected = holm([one.p for one in comparisons])
    found = [fact for one in examinations for fact in one.facts]
    found += [
        replace(one.recommendation, corrected_p=p)
        for one, p in zip(comparisons, corrected, strict=True)
        if p <= LEVEL and one.recommendation is not None
    ]
    return Advice(sorted(found, key=lambda one: (-(one.expected_gain_messages or 0), one.key)), examinations)
