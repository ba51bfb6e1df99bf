import asyncio
import socket

import pytest

from event_stream_engine.cli.supervisor import bind_port, supervise
from event_stream_engine.kernel.errors import Conflict, Unavailable


def test_a_taken_port_says_what_to_do(free_port: int) -> None:
    with bind_port("127.0.0.1", free_port) as listener:
        assert listener.get_inheritable()
        with pytest.raises(Conflict, match="set ESE_PORT"):
            bind_port("127.0.0.1", free_port)


def test_a_port_is_free_again_at_once(free_port: int) -> None:
    with bind_port("127.0.0.1", free_port), socket.create_connection(("127.0.0.1", free_port)):
        pass
    bind_port("127.0.0.1", free_port).close()


async def test_what_is_tended_may_fail_and_is_tended_again() -> None:
    stopping, turns = asyncio.Event(), 0

    async def tend() -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            stopping.set()
        raise Unavailable("The database does not start.")

    await supervise([], stopping, tend)
    assert turns == 3
