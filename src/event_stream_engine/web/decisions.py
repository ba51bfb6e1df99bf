"""A decision about a message in its six steps, as pages show it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from event_stream_engine.kernel.clock import parse_instant
from event_stream_engine.kernel.formats import format_duration, format_number
from event_stream_engine.messaging.error_codes import describe_error_code
from event_stream_engine.web.wording import STEPS, word_reason


def describe_decision(at: datetime, action: str, after: Mapping[str, Any]) -> dict[str, Any]:
    """Return a decision, as the audit trail has it, with all six steps, also those it did not reach."""
    taken = {step["step"]: step for step in after.get("steps", ())}
    steps = []
    for slug, name in STEPS.items():
        step = taken.get(slug, {})
        microseconds = step.get("microseconds")
        seconds = None if microseconds is None else microseconds / 1e6
        steps.append(
            {
                "name": name,
                "outcome": step.get("outcome"),
                "why": _describe_step(step),
                "seconds": seconds,
                "took": "" if microseconds is None else _format_microseconds(microseconds),
            }
        )
    until = after.get("defer_until")
    return {
        "at": at,
        "outcome": after.get("outcome") or action.removeprefix("compliance."),
        "reason": after.get("reason"),
        "evidence": after.get("evidence"),
        "until": parse_instant(until) if until else None,
        "steps": steps,
    }


def _describe_step(step: dict[str, Any]) -> str:
    if step.get("reason"):
        return word_reason(step["reason"])
    if zones := step.get("zones"):
        return ", ".join(zones)
    if code := step.get("code"):
        return f"{code} {describe_error_code(int(code)).description}"
    return str(step.get("sid") or "")


def _format_microseconds(microseconds: int) -> str:
    return f"{format_number(microseconds)} µs" if microseconds < 1000 else format_duration(microseconds / 1e6)
