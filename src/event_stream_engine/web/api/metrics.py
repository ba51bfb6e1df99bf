"""What each figure means, from the catalogue."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from event_stream_engine.analytics.catalogue import SUBJECTS, load_metric
from event_stream_engine.analytics.metric import Metric

router = APIRouter(prefix="/metrics", tags=["metrics"])


@router.get("")
async def list_metrics() -> dict[str, Any]:
    """Every metric with its meaning, what it reads and where it is answered, by subject."""
    metrics = (
        _describe(metric) | {"subject": subject.name} for subject in SUBJECTS for metric in subject.metrics
    )
    return {"items": list(metrics), "next_cursor": None}


@router.get("/{slug}")
async def show_metric(slug: str) -> dict[str, Any]:
    """One metric."""
    return _describe(load_metric(slug))


def _describe(metric: Metric) -> dict[str, Any]:
    return asdict(metric) | {
        "numerator": metric.numerator or None,
        "denominator": metric.denominator or None,
        "section": metric.section or None,
        "note": metric.note or None,
        "definition": f"/definitions#{metric.slug}",
    }
