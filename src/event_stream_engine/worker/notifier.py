"""The notifier: claims what is due, sends it outside of any transaction, writes down what came of it.

One message at a time to a channel, all channels side by side: one that hangs holds up nobody else.
"""

import asyncio
import json
import logging
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg

from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.settings import Settings, environment_without_settings
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.notifications import deliveries
from event_stream_engine.notifications.alertmanager import describe_alerts, post_alerts
from event_stream_engine.notifications.deliveries import Answer, Parcel
from event_stream_engine.notifications.message import compose_message
from event_stream_engine.notifications.targets import ALERTMANAGER, hide_secrets, open_target
from event_stream_engine.worker.projector import pause

SENDINGS = 16  # at a time
SEND_SECONDS = 20.0  # longest sending; well below the lease
LAST_SECONDS = 5.0  # a worker that is to end waits so long for an answer
IDLE_SECONDS = 1.0
UPKEEP = timedelta(hours=1)
_COURIER = (sys.executable, "-P", "-m", "event_stream_engine.worker.courier")
_logger = logging.getLogger(__name__)


async def run_notifier(
    settings: Settings, url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Deliver notices until told to stop; sendings that have begun are finished and written down."""
    notifier = Notifier(settings, clock)
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-notifier") as conn:
                await notifier.run(conn, stopping, came_round)
        except psycopg.Error as error:
            _logger.warning("the notifier waits for the database: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 0.5)


@dataclass(slots=True)
class Notifier:
    settings: Settings
    clock: Clock
    sendings: "set[asyncio.Task[Answer]]" = field(default_factory=set)
    answers: list[Answer] = field(
        default_factory=list
    )  # still to be written down, also after a lost database
    upkeep_at: datetime | None = None

    async def run(self, conn: Connection, stopping: asyncio.Event, came_round: CameRound = unwatched) -> None:
        """Claim, send and write down until told to stop."""
        waiting = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                await self.step(conn)
                came_round()
                await asyncio.wait(
                    {*self.sendings, waiting}, timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            if self.sendings:
                await asyncio.wait(self.sendings, timeout=LAST_SECONDS)
            await self._record(conn)
        finally:
            waiting.cancel()
            if stopping.is_set():
                for sending in self.sendings:  # its lease runs out, and another worker sends it again
                    sending.cancel()
                await asyncio.gather(*self.sendings, return_exceptions=True)

    async def step(self, conn: Connection) -> None:
        """Write down what has come back, hand over to fallbacks, and begin the sendings that are due."""
        await self._record(conn)
        now = self.clock.now()
        async with transaction(conn):
            await deliveries.pass_on(conn, now)
        room = SENDINGS - len(self.sendings)
        if room > 0:
            async with transaction(conn):
                parcels = await deliveries.claim_parcels(conn, now, room)
            for parcel in parcels:
                self.sendings.add(asyncio.create_task(self.send(parcel)))
        if self.upkeep_at is None or now >= self.upkeep_at:
            await deliveries.forget_old(conn, now)
            self.upkeep_at = now + UPKEEP

    async def _record(self, conn: Connection) -> None:
        done = {sending for sending in self.sendings if sending.done()}
        self.sendings -= done
        self.answers += [sending.result() for sending in done]
        while self.answers:
            async with transaction(conn):
                is_ours = await deliveries.record_answer(conn, self.answers[0])
            if not is_ours:
                _logger.warning("a notification took longer than its lease; it goes out again")
            self.answers.pop(0)

    async def send(self, parcel: Parcel) -> Answer:
        """Send a parcel, and say what came of it. Raises nothing."""
        began = time.monotonic()
        target = ""
        try:
            target = open_target(self.settings.secret_key, parcel.sealed_target)
            async with asyncio.timeout(SEND_SECONDS):
                if parcel.kind == ALERTMANAGER:
                    alerts = describe_alerts(parcel.episodes, self.settings.public_url, self.clock.now())
                    result, answer = await post_alerts(target, alerts, self.settings.private_targets)
                else:
                    result, answer = await self._send_by_courier(parcel, target)
        except TimeoutError:
            result, answer = "postponed", f"no answer within {SEND_SECONDS:.0f} s"
        except Unavailable as error:
            result, answer = "postponed", str(error)
        except Exception as error:
            _logger.exception("sending a notification failed")  # a fault of ours; the message waits
            result, answer = "postponed", type(error).__name__
        took_ms = round((time.monotonic() - began) * 1000)
        answer = hide_secrets(answer, target)
        if result != "delivered":
            _logger.warning("a message to channel %s was %s: %s", parcel.channel_id, result, answer)
        return Answer(parcel, result, answer, self.clock.now(), took_ms)

    async def _send_by_courier(self, parcel: Parcel, target: str) -> tuple[str, str]:
        message = compose_message([one.notice for one in parcel.waiting], self.settings.public_url)
        order = {
            "url": target,
            "title": message.title,
            "body": message.body,
            "html": message.html,
            "tone": message.tone,
            "private": [str(network) for network in self.settings.private_targets],
        }
        courier = await asyncio.create_subprocess_exec(
            *_COURIER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # a traceback could show the address
            env=environment_without_settings(),
        )
        try:
            told, _ = await courier.communicate(json.dumps(order).encode())
        finally:
            if courier.returncode is None:
                courier.kill()
                await courier.wait()
        if courier.returncode != 0:
            return "postponed", "the library failed at this message"
        answer = json.loads(told)
        return answer["result"], answer["answer"]
