"""What each figure means, from the catalogue."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path

from event_stream_engine.analytics.catalogue import SUBJECTS, load_metric
from event_stream_engine.analytics.metric import Metric, Subject

router = APIRouter(prefix="/metrics", tags=["metrics"])


def _describe(subject: Subject, metric: Metric) -> dict[str, Any]:
    return asdict(metric) | {
        "subject": subject.name,
        "numerator": metric.numerator or None,
        "denominator": metric.denominator or None,
        "section": metric.section or None,
        "note": metric.note or None,
        "definition": f"/definitions#{metric.slug}",
    }


_DESCRIBED = {metric.slug: _describe(subject, metric) for subject in SUBJECTS for metric in subject.metrics}


@router.get("")
async def list_metrics() -> dict[str, Any]:
    """Every metric with its meaning, what it reads and where it is answered, by subject."""
    return {"items": list(_DESCRIBED.values()), "next_cursor": None}


@router.get("/{slug}")
async def show_metric(
    slug: Annotated[str, Path(description="the metric's key, like delivery_rate")],
) -> dict[str, Any]:
    """One metric with its meaning, what it reads and where it is answered."""
    return _DESCRIBED[load_metric(slug).slug]
