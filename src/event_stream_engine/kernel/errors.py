"""Errors by meaning. Only `web/errors.py` knows status codes, only the command line knows exit codes."""


class EngineError(Exception):
    """Something a person can act on: the message says what happened and what to do."""


class Invalid(EngineError):
    """The input is wrong. `field` names the part of it, when there is one."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotFound(EngineError):
    """No such thing."""


class Conflict(EngineError):
    """The thing is not in a state that allows this."""


class Denied(EngineError):
    """Known, but not allowed."""


class Unauthenticated(EngineError):
    """Nobody known: sign in or send a key."""


class Unavailable(EngineError):
    """A part the engine needs is away for now; trying again later may succeed."""


class Throttled(EngineError):
    """Too often. After `retry_after_seconds` it will be taken again."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
