"""A question to the figures, what is answered, and what is known of a measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from event_stream_engine.alerting.state import Reading

ALL = "all"


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """A metric of each subject of a scope. `window_seconds` 0: the metric has none, or the whole campaign is meant."""

    metric: str
    scope: str
    window_seconds: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The answer to a question; with a `fault` nothing is known of any subject.

    By campaign there is a reading of each that is followed: one that has none has ended.
    """

    readings: Sequence[Reading]
    fault: str = ""

    @property
    def by_subject(self) -> Mapping[str, Reading]:
        return {reading.subject: reading for reading in self.readings}


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric rules can measure. `unit` as in the catalogue; `sample`: what a minimum sample counts, '' for no ratio.

    `spans_campaign`: of a campaign the window may be left out; `has_history`: its past is kept, so that a rule can be
    tried on it.
    """

    slug: str
    name: str
    unit: str
    formula: str
    scopes: tuple[str, ...] = (ALL,)
    has_window: bool = False
    sample: str = ""
    spans_campaign: bool = False
    has_history: bool = False

    @property
    def is_about_messages(self) -> bool:
        """Return whether it tells of messages, also where its subject is all of them, and not of the engine itself."""
        return "campaign" in self.scopes
