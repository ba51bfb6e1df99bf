"""The figures once more, from their definitions, in plain Python over a list of webhooks. Shares no code with the engine."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import phonenumbers

RANK = {
    "accepted": 0, "scheduled": 0, "queued": 10, "sending": 20, "sent": 30,
    "failed": 40, "canceled": 40, "undelivered": 40, "delivered": 50, "read": 60,
}  # fmt: skip
ORDER = {"order", "orders", "delivery", "refund", "tracking", "shipped"}
STOP = {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out"}


@dataclass(frozen=True, order=True)
class Receipt:
    at: datetime
    sid: str
    status: str
    error_code: int | None
    to: str


@dataclass(frozen=True, order=True)
class Inbound:
    at: datetime
    sid: str
    sender: str
    body: str


@dataclass
class Figures:
    by_status: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    conflicts: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    countries: Counter[str] = field(default_factory=Counter)
    delivery_seconds: list[float] = field(default_factory=list)
    by_intent: Counter[str] = field(default_factory=Counter)
    senders: set[str] = field(default_factory=set)
    immediate: int = 0
    users: Counter[str] = field(default_factory=Counter)


def count_figures(
    receipts: list[Receipt], inbound: list[Inbound], since: datetime, until: datetime
) -> Figures:
    figures = Figures()
    by_sid: dict[str, list[Receipt]] = {}
    for receipt in sorted(set(receipts)):
        by_sid.setdefault(receipt.sid, []).append(receipt)
    for history in by_sid.values():
        if since <= history[0].at < until:
            _count_message(history, figures)
    cohorts = [(history[0].to, history[0].at) for history in by_sid.values()]
    states: dict[str, str] = {}
    for message in sorted(set(inbound)):
        intent = _classify(message.body, states.get(message.sender))
        if intent == "stop":
            states[message.sender] = "STOP"
        elif intent == "start" and states.get(message.sender) == "STOP":
            states[message.sender] = "OPT_IN"
        if since <= message.at < until:
            figures.by_intent[intent] += 1
            figures.senders.add(message.sender)
            figures.immediate += any(
                to == message.sender and timedelta(0) <= message.at - at <= timedelta(minutes=5)
                for to, at in cohorts
            )
    figures.users = Counter(states.values())
    return figures


def _count_message(history: list[Receipt], figures: Figures) -> None:
    top = max(RANK[receipt.status] for receipt in history)
    deciding = next(receipt for receipt in history if RANK[receipt.status] == top)
    figures.by_status[deciding.status.upper()] += 1
    statuses = {receipt.status for receipt in history}
    figures.sent += not (history[0].status == history[-1].status == "failed")
    figures.conflicts += bool(statuses & {"failed", "undelivered"} and statuses & {"delivered", "read"})
    if deciding.status in ("failed", "undelivered"):
        figures.errors[str(deciding.error_code) if deciding.error_code else "no_code"] += 1
        figures.countries[_find_region(deciding.to) or "unknown"] += 1
    first = {
        status: next((r.at for r in history if r.status == status), None) for status in ("sent", "delivered")
    }
    if first["sent"] and first["delivered"] and first["delivered"] >= first["sent"]:
        figures.delivery_seconds.append((first["delivered"] - first["sent"]).total_seconds())


def _find_region(phone: str) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:  # a calling code nobody has
        return None


def _classify(body: str, state: str | None) -> str:
    words = " ".join(body.casefold().split())
    if words in STOP:
        return "stop"
    if words in ("help", "info"):
        return "help"
    if words in ("start", "unstop") or (words == "yes" and state == "STOP"):
        return "start"
    runs = "".join(letter if "a" <= letter <= "z" else " " for letter in body.casefold()).split()
    return "order" if ORDER & set(runs) else "general"
