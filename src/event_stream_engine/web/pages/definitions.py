"""`/definitions`: what does each figure mean?"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics.catalogue import METRICS, RULES, SUBJECTS, find_subjects
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(include_in_schema=False)


@router.get("/definitions")
async def show_definitions(request: Request, search: Annotated[str, Query(max_length=100)] = "") -> Response:
    subjects = find_subjects(search)
    return render(
        request,
        "definitions.html",
        rules=RULES,
        all_subjects=SUBJECTS,
        subjects=subjects,
        search=search,
        found=sum(len(subject.metrics) for subject in subjects),
        total=len(METRICS),
        zone=resources_of(request).settings.timezone,
    )
