"""Messages of a scope by present status, as the roll-ups have them."""

from dataclasses import dataclass

from event_stream_engine.kernel.stats import percent

STATUSES = (
    "ACCEPTED", "SCHEDULED", "QUEUED", "SENDING", "SENT", "CANCELED", "FAILED", "UNDELIVERED", "DELIVERED", "READ",
)  # fmt: skip
DELIVERED_STATUSES = ("DELIVERED", "READ")
FAILED_STATUSES = ("FAILED", "UNDELIVERED")
IN_FLIGHT_STATUSES = ("ACCEPTED", "SCHEDULED", "QUEUED", "SENDING", "SENT")


@dataclass(frozen=True, slots=True)
class MessageCounts:
    """`messages`: handed to the provider; `sent`: taken by it; `now_…`: by present status.

    `replied` and `stopped`: answered within 72 h, the first only of delivered ones, the second with STOP.
    """

    messages: int
    sent: int
    conflicts: int
    replied: int
    stopped: int
    now_accepted: int
    now_scheduled: int
    now_queued: int
    now_sending: int
    now_sent: int
    now_canceled: int
    now_failed: int
    now_undelivered: int
    now_delivered: int
    now_read: int

    @property
    def by_status(self) -> dict[str, int]:
        """Return the statuses that messages have; they add up to `messages`."""
        counted = {status: getattr(self, f"now_{status.lower()}") for status in STATUSES}
        return {status: count for status, count in counted.items() if count}

    @property
    def delivered(self) -> int:
        return self.now_delivered + self.now_read

    @property
    def failed(self) -> int:
        return self.now_failed + self.now_undelivered

    @property
    def in_flight(self) -> int:
        return self.now_accepted + self.now_scheduled + self.now_queued + self.now_sending + self.now_sent

    @property
    def delivery_rate_percent(self) -> float | None:
        return percent(self.delivered, self.sent)

    @property
    def error_rate_percent(self) -> float | None:
        return percent(self.failed, self.messages)

    @property
    def read_rate_percent(self) -> float | None:
        return percent(self.now_read, self.delivered)

    @property
    def reply_rate_percent(self) -> float | None:
        return percent(self.replied, self.delivered)

    @property
    def opt_out_rate_percent(self) -> float | None:
        """Return the messages that were answered with STOP, of those the provider took."""
        return percent(self.stopped, self.sent)


NO_MESSAGES = MessageCounts(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
