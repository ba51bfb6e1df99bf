"""How much of a request's body is waited for, and how long. The framework reads a body before it asks who sends it."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY_BYTES = 1024 * 1024
BODY_SECONDS = 30.0
LINGER_SECONDS = 2.0
# The unread rest of a body would be taken for the next request on the connection.
_HANG_UP = {"connection": "close"}


class BodyLimits:
    """Refuses bodies that are too large (413) or do not come (408).

    `uploads` are paths that take a body of any size, in pieces and with a limit of their own; there the time is that of
    each piece.
    """

    def __init__(self, app: ASGIApp, uploads: Collection[str] = ()) -> None:
        self.app = app
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        is_upload = scope["path"] in self.uploads
        loop = asyncio.get_running_loop()
        size, is_complete, is_refused = 0, False, False
        ends_at = loop.time() + BODY_SECONDS

        async def receive_limited() -> Message:
            nonlocal size, is_complete, is_refused
            if is_complete:  # what is waited for now is that the client leaves
                return await receive()
            try:
                async with asyncio.timeout_at(loop.time() + BODY_SECONDS if is_upload else ends_at):
                    message = await receive()
            except TimeoutError:
                is_refused = True
                text = f"The body did not arrive within {BODY_SECONDS:.0f} s. Send it again."
                raise HTTPException(408, text, _HANG_UP) from None
            size += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if size > LARGEST_BODY_BYTES and not is_upload:
                is_refused = True
                text = f"At most {LARGEST_BODY_BYTES // 1024} kB are taken here. Files of people go to /api/v1/imports."
                raise HTTPException(413, text, _HANG_UP)
            return message

        async def send_lingering(message: Message) -> None:
            # Closing while more is on its way resets the connection, and the client loses the answer: it has all of
            # it by now, only the end is held back while the rest is thrown away.
            if is_refused and message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_SECONDS):
                        while (await receive()).get("more_body", False):
                            pass
                message = {"type": "http.response.body"}
            await send(message)

        return await self.app(scope, receive_limited, send_lingering)
