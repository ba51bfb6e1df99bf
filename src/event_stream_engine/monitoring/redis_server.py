"""Redis, where one is configured: whether it answers, how fast, and what memory it uses. The engine itself needs none."""

import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from event_stream_engine.kernel.errors import Invalid

ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RedisLook:
    """What was found; `fault` is None when it answered."""

    memory_bytes: int | None
    latency_ms: float | None
    fault: str | None


def require_package(url: str | None) -> None:
    """Check that the client is installed when Redis is configured. Errors: Invalid with the command."""
    if url and find_spec("redis") is None:
        raise Invalid(
            "ESE_REDIS_URL is set, but the package that speaks to Redis is not installed. Run"
            " `pip install 'event-stream-engine[redis]'`, or unset ESE_REDIS_URL."
        )


class RedisProbe:
    """Looks at one Redis again and again over one connection."""

    def __init__(self, url: str) -> None:
        redis = import_module("redis.asyncio")
        errors = import_module("redis.exceptions")
        self._faults: tuple[type[Exception], ...] = (errors.RedisError, OSError)
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            client_name="ese",
            retry=None,
        )

    async def look(self) -> RedisLook:
        """Ask for the memory in use; who does not answer has a fault."""
        began = time.perf_counter()
        try:
            memory = await self._client.info("memory")
        except self._faults as error:
            # Never the text of a failed connection: it may hold the URL, and with it the password.
            return RedisLook(None, None, _word(error))
        latency_ms = (time.perf_counter() - began) * 1000
        return RedisLook(int(memory["used_memory"]), latency_ms, None)

    async def close(self) -> None:
        await self._client.aclose()


def _word(error: Exception) -> str:
    kind = type(error).__name__
    words: dict[str, str] = {
        "AuthenticationError": "refuses the password",
        "AuthenticationWrongNumberOfArgsError": "refuses the password",
        "NoPermissionError": "does not let this user read INFO",
        "TimeoutError": f"does not answer within {ANSWER_SECONDS:g} s",
        "BusyLoadingError": "is loading its data",
        "ConnectionError": "cannot be reached",
    }
    return words.get(kind, f"failed: {kind}")
