"""What can be asked about capacity, by a program or in the forms of the page, with the same limits."""

from datetime import time
from typing import Any, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from starlette.datastructures import QueryParams

from event_stream_engine.insights.what_if import Assumptions
from event_stream_engine.kernel.errors import Invalid

Question = TypeVar("Question", bound=BaseModel)


class CapacityQuery(BaseModel):
    """What if: what is left out is as it is now."""

    volume_factor: float = Field(
        1.0, ge=0.01, le=1000, description="What if there were so many times the messages?"
    )
    senders: int | None = Field(None, ge=1, le=10_000, description="What if there were so many senders?")
    retention_days: int | None = Field(
        None, ge=1, le=3650, description="What if only so many days of the log were kept?"
    )

    @property
    def assumptions(self) -> Assumptions:
        return Assumptions(self.volume_factor, self.senders, self.retention_days)


class DrainQuery(BaseModel):
    """What is asked; what is left out is as the campaign has it, or as is usual."""

    campaign_id: UUID | None = Field(None, description="A campaign that is not over yet.")
    recipients: int | None = Field(
        None, ge=1, le=100_000_000, description="So many people, spread over zones as those who opted in are."
    )
    rate: int | None = Field(None, ge=1, le=10_000, description="Messages a second.")
    senders: int = Field(1, ge=1, le=10_000, description="Numbers they are sent from.")
    sender_rate: float | None = Field(
        None,
        ge=0.01,
        le=10_000,
        description="Segments a second that the provider sends from each; left out: not known.",
    )
    segments: int | None = Field(None, ge=1, le=10, description="Segments of a message.")
    quiet_starts: time | None = Field(None, description="Quiet hours of the recipients, like 21:00.")
    quiet_ends: time | None = Field(None, description="Their end; the same time: none.")
    starts_at: AwareDatetime | None = Field(None, description="Now when left out or past.")


def read_form(question: type[Question], given: QueryParams, prefix: str = "") -> Question:
    """Read a question from the fields of a form, of which the empty ones are left out. Errors: Invalid naming the field."""
    values: dict[str, Any] = {
        name: value for name in question.model_fields if (value := given.get(prefix + name, "").strip())
    }
    try:
        return question.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{prefix}{first['loc'][0]}"
        raise Invalid(f"{first['msg']}: {first['input']!r} was given for {name}.", name) from None
