"""Prometheus Alertmanager's API v2: what is firing, sent anew while it fires, and what has ended."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.notifications.addresses import Network, is_allowed

REFRESH = timedelta(minutes=1)  # how often a firing alert is sent anew
FORGET_AFTER = timedelta(minutes=5)  # without that, Alertmanager takes it as ended
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class Episode:
    """What a channel was told of one episode. Labels, severity and name are those of its beginning: by them it is known."""

    id: UUID
    labels: Mapping[str, str]
    name: str
    severity: str
    starts_at: datetime
    ends_at: datetime | None
    title: str
    body: str
    facts: Sequence[tuple[str, str]]
    path: str


def describe_alerts(episodes: Sequence[Episode], public_url: str, now: datetime) -> list[dict[str, Any]]:
    """Return the body of `POST /api/v2/alerts`."""
    return [
        {
            "labels": _describe_labels(episode),
            "annotations": {"summary": episode.title, "description": episode.body}
            | {_name_label(name): value for name, value in episode.facts},
            "startsAt": format_instant(episode.starts_at),
            "endsAt": format_instant(episode.ends_at or now + FORGET_AFTER),
            "generatorURL": public_url + episode.path,
        }
        for episode in episodes
    ]


def _describe_labels(episode: Episode) -> dict[str, str]:
    own = {"alertname": episode.name, "severity": episode.severity, "episode": str(episode.id)}
    return own | {_name_label(name): value for name, value in episode.labels.items() if value}


def _name_label(name: str) -> str:
    named = _NO_LABEL.sub("_", name)
    return f"_{named}" if named[:1].isdigit() or not named else named


async def post_alerts(
    url: str, alerts: Sequence[Mapping[str, Any]], private: Sequence[Network]
) -> tuple[str, str]:
    """Post alerts; return what came of it (delivered, postponed, refused) and what was answered."""
    parts = urlsplit(url)
    if not _is_name(parts.hostname or "") and not is_allowed(parts.hostname or "", private):
        return "postponed", f"{parts.hostname} is not a public address"
    auth = aiohttp.BasicAuth(parts.username or "", parts.password or "") if parts.username else None
    bare = urlunsplit(
        parts._replace(netloc=parts.netloc.rpartition("@")[2], path=f"{parts.path.rstrip('/')}/api/v2/alerts")
    )
    connector = aiohttp.TCPConnector(resolver=_Guarded(private))
    try:
        async with (
            aiohttp.ClientSession(connector=connector, auth=auth) as session,
            session.post(
                bare,
                data=orjson.dumps(alerts),
                headers={"content-type": "application/json"},
                allow_redirects=False,
            ) as answer,
        ):
            told = f"HTTP {answer.status} {answer.reason}"
            if answer.status < 300:
                return "delivered", told
            text = (await answer.content.read(200)).decode(errors="replace")
            is_final = 300 <= answer.status < 500 and answer.status not in (408, 429)
            return "refused" if is_final else "postponed", f"{told}: {text}".rstrip(": ")
    except (aiohttp.ClientError, OSError) as error:
        return "postponed", str(error) or type(error).__name__


def _is_name(host: str) -> bool:
    return ":" not in host and any(letter.isalpha() for letter in host)


class _Guarded(AbstractResolver):
    """Gives out only addresses that are allowed, and the connection goes to what was given out."""

    def __init__(self, private: Sequence[Network]) -> None:
        self._private = private
        self._resolver = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            if not is_allowed(one["host"], self._private):
                raise OSError(f"{host} is at {one['host']}, which is not a public address")
        return found

    async def close(self) -> None:
        await self._resolver.close()
