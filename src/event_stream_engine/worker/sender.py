"""The sender: claims what is due (prepare), calls the provider (deliver), writes what came of it (record).

Claims, and the locks of people, live on one session, records on another. No transaction is open while the provider is
called.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Protocol
from uuid import UUID

import psycopg

from event_stream_engine.audience import consent
from event_stream_engine.campaigns import outbox, pacing, prohibited
from event_stream_engine.campaigns.claiming import Batch, claim_messages, claim_replies, load_order
from event_stream_engine.campaigns.compliance import Order, Verdict
from event_stream_engine.campaigns.outbox import REPLIES, Ready
from event_stream_engine.campaigns.recording import Answer, find_opted_out, record_answers
from event_stream_engine.infra import tracing
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.messaging.provider import Accepted, Outcome, OutgoingMessage, Postponed, Unknown
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.worker.projector import pause

CALLS = 128  # at a time
CLAIM = 100  # messages at most in one claim
RECORD = 200  # answers at most in one transaction
IDLE_SECONDS = 0.1
PACE_SECONDS = 0.03  # shortest wait for tokens, so that a claim takes several
CALL_SECONDS = 30.0  # longest call; well below the lease
FRESH_SECONDS = 10.0  # a claim older than this begins no call: this process may have been asleep
WORDS_SECONDS = 2.0  # the prohibited words are read anew so often
LET_GO_SECONDS = 0.015  # calls end together; so are their people let go of, in one statement
RECORD_SECONDS = 0.03  # answers are waited for so long, to be written together: a commit each 30 ms is half the cost of one each 10
_logger = logging.getLogger(__name__)


class Provider(Protocol):
    async def send_message(self, message: OutgoingMessage) -> Outcome: ...


async def run_sender(
    settings: Settings,
    url: str,
    clock: Clock,
    stopping: asyncio.Event,
    provider: Provider,
    *,
    came_round: CameRound = unwatched,
) -> None:
    """Hand messages over until told to stop; calls that have begun are finished and recorded."""
    unrecorded: list[Answer] = []  # what the provider said while the database was away
    while not stopping.is_set():
        try:
            async with open_sender(settings, url, clock, provider) as sender:
                await sender.run(stopping, unrecorded, came_round)
        except* psycopg.Error as errors:
            error = errors.exceptions[0]
            _logger.warning("the sender waits for the database: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 0.5)


@asynccontextmanager
async def open_sender(
    settings: Settings, url: str, clock: Clock, provider: Provider
) -> "AsyncIterator[Sender]":
    """Open a sender's two sessions. Leaving them ends all locks."""
    async with await connect(url, "ese-sender") as claiming, await connect(url, "ese-sender") as recording:
        for conn in (claiming, recording):
            # Every statement here goes to its rows by an index. A queue's statistics are always of another time, and by
            # them the planner read the whole outbox for a hundred rows (measured: 50 ms against 3).
            for setting in (
                "plan_cache_mode = force_custom_plan",
                "enable_seqscan = off",
                "enable_hashjoin = off",
                "enable_mergejoin = off",
            ):
                await conn.execute(f"SET {setting}")
        yield Sender(settings, clock, provider, claiming, recording)


@dataclass(slots=True)
class Sender:
    settings: Settings
    clock: Clock
    provider: Provider
    claiming: Connection
    recording: Connection
    chance: SystemRandom = field(default_factory=SystemRandom)
    most_calls: int = field(default_factory=lambda: CALLS)  # fewer for a while after the provider complained
    prohibited_words: list[str] = field(default_factory=list)
    words_age_at: float = 0.0
    orders: dict[UUID, Order] = field(default_factory=dict)
    calls: set["asyncio.Task[None]"] = field(default_factory=set)
    answers: "asyncio.Queue[Answer | None]" = field(default_factory=asyncio.Queue)
    let_go: list[str] = field(default_factory=list)  # people whose lock is no longer needed
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stopping: asyncio.Event, unrecorded: list[Answer], came_round: CameRound) -> None:
        """Claim, call and record until told to stop. `unrecorded`: answers still to be written, before and after."""
        for left in unrecorded:
            self.answers.put_nowait(left)
        unrecorded.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._record())
                waking = tasks.create_task(self._wake_up_on(stopping))
                try:
                    while not stopping.is_set():
                        await self._rest(await self.prepare())
                        came_round()
                finally:
                    waking.cancel()
                    # Also when the database is lost: what the provider says is still to be heard.
                    while self.calls:
                        await asyncio.wait(self.calls)
                        with suppress(psycopg.Error):
                            await self.let_people_go()
                    self.answers.put_nowait(None)
        finally:
            while not self.answers.empty():
                if (answer := self.answers.get_nowait()) is not None:
                    unrecorded.append(answer)

    async def prepare(self) -> float:
        """Claim what may go now and begin its calls; return how many seconds may pass until there may be more."""
        await self.let_people_go()
        if self._is_full:
            return IDLE_SECONDS
        now = self.clock.now()
        waits = [IDLE_SECONDS]
        second = pacing.second_of(now)
        for ready in await outbox.list_ready(self.claiming, self.settings.provider, now, second):
            room = self.most_calls - len(self.calls)
            if room <= 0:
                break
            batch = await self._claim(ready, min(room, CLAIM))
            if batch is not None:
                await self._begin(batch)
            if ready.campaign_id == REPLIES or (batch is not None and (batch.allowed or batch.settled)):
                waits.append(0.0 if ready.rate_per_second > CALLS else PACE_SECONDS)
            else:
                waits.append(max(PACE_SECONDS, self._until_token(ready)))
        return min(waits)

    async def _claim(self, ready: Ready, most: int) -> Batch | None:
        if ready.campaign_id == REPLIES:
            async with transaction(self.claiming):
                return await claim_replies(self.claiming, self.settings.secret_key, self.clock, most)
        if pacing.count_tokens(ready.rate_per_second, ready.taken, self.clock.now()) == 0:
            return None
        if time.monotonic() >= self.words_age_at:
            self.prohibited_words = await prohibited.list_words(self.claiming)
            self.words_age_at = time.monotonic() + WORDS_SECONDS
        order = self.orders.get(ready.campaign_id)
        if order is None:
            order = self.orders[ready.campaign_id] = await load_order(self.claiming, ready.campaign_id)
        async with transaction(self.claiming):
            return await claim_messages(
                self.claiming,
                order,
                self.clock,
                secret_key=self.settings.secret_key,
                provider=self.settings.provider,
                prohibited_words=self.prohibited_words,
                most=most,
            )

    async def _begin(self, batch: Batch) -> None:
        """Begin the calls of a claim, in its second, and let go of the people who get nothing now."""
        staying = {verdict.due.recipient_phone: 0 for verdict in batch.allowed}
        if batch.allowed and _is_over(batch, self.clock.now()):
            await outbox.give_back(self.claiming, batch.claim_id)
            self.let_go += batch.held
            return
        claimed = time.monotonic()
        for verdict in batch.allowed:
            staying[verdict.due.recipient_phone] += 1
            call = asyncio.create_task(self._deliver(batch, verdict, claimed))
            self.calls.add(call)
            call.add_done_callback(self.calls.discard)
        for phone in batch.held:
            if staying.get(phone):
                staying[phone] -= 1
            else:
                self.let_go.append(phone)

    async def _deliver(self, batch: Batch, verdict: Verdict, claimed: float) -> None:
        message = verdict.message
        assert message is not None  # noqa: S101 - it is what makes a verdict an allowed one
        began = time.perf_counter_ns()
        try:
            if not self._is_fresh(batch, claimed):
                # The lease may have passed to another; whoever finds the row will see that the provider has nothing.
                return
            handed_at = self.clock.now()
            outcome = None if _is_over(batch, handed_at) else await self._call(message)
        finally:
            self.let_go.append(message.recipient_phone)
            self.woken.set()
        answer = Answer(
            claim_id=batch.claim_id,
            campaign_id=batch.campaign_id,
            verdict=verdict,
            outcome=outcome,
            handed_at=handed_at,
            at=self.clock.now(),
            microseconds=(time.perf_counter_ns() - began) // 1000,
        )
        self._learn(outcome)
        self.answers.put_nowait(answer)

    def _is_fresh(self, batch: Batch, claimed: float) -> bool:
        age = max(timedelta(seconds=time.monotonic() - claimed), abs(self.clock.now() - batch.claimed_at))
        return age < timedelta(seconds=FRESH_SECONDS)

    async def _call(self, message: OutgoingMessage) -> Outcome:
        with tracing.span("send message", {"ese.message.id": str(message.message_id)}, kind="client") as span:
            outcome = await self._ask_provider(message)
            span.note({"ese.outcome": type(outcome).__name__.lower()})
            if isinstance(outcome, Unknown):
                span.fail("no answer")
            return outcome

    async def _ask_provider(self, message: OutgoingMessage) -> Outcome:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self.provider.send_message(message)
        except TimeoutError:
            return Unknown("no answer in time")
        except Exception as error:
            # A fault of ours: whether it came before or after the provider had the message, nobody can tell.
            _logger.exception("handing a message over failed", extra={"message_id": str(message.message_id)})
            return Unknown(type(error).__name__)

    def _learn(self, outcome: Outcome | None) -> None:
        """Call less at a time after complaints, and slowly more again."""
        if isinstance(outcome, Postponed | Unknown):
            self.most_calls = max(1, self.most_calls * 3 // 4)
        elif isinstance(outcome, Accepted):
            self.most_calls = min(CALLS, self.most_calls + 1)

    async def _record(self) -> None:
        is_ending = False
        while not is_ending:
            answers = []
            answer = await self.answers.get()
            await asyncio.sleep(RECORD_SECONDS)
            while answer is not None:
                answers.append(answer)
                if len(answers) >= RECORD or self.answers.empty():
                    break
                answer = self.answers.get_nowait()
            is_ending = answer is None
            if answers:
                try:
                    await self.record(answers)
                except BaseException:
                    for one in answers:
                        self.answers.put_nowait(one)
                    raise

    async def record(self, answers: Sequence[Answer]) -> None:
        """Write what came of calls."""
        now = self.clock.now()
        if stopped := [answer.verdict.due.recipient_phone for answer in find_opted_out(answers)]:
            async with transaction(self.recording):
                await consent.stop_refused(self.recording, self.settings.secret_key, stopped, now)
        async with transaction(self.recording):
            until, reason = find_pause(answers, now)
            if until is not None:
                await pacing.pause_provider(self.recording, self.settings.provider, until, reason)
            await record_answers(self.recording, answers, now, self.chance)

    async def let_people_go(self) -> None:
        """Let go of the people whose calls have ended."""
        if self.let_go:
            phones, self.let_go = self.let_go, []
            await outbox.release_people(self.claiming, phones)

    def _until_token(self, ready: Ready) -> float:
        return pacing.count_seconds_to_token(ready.rate_per_second, ready.taken, self.clock.now())

    async def _rest(self, seconds: float) -> None:
        """Wait, or until there is room again for calls; people are let go of as their calls end: a STOP may wait."""
        was_full = self._is_full
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and (not was_full or self._is_full):
            self.woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.woken.wait()
                    await asyncio.sleep(LET_GO_SECONDS)
            await self.let_people_go()

    @property
    def _is_full(self) -> bool:
        return (self.most_calls - len(self.calls)) * 3 < self.most_calls

    async def _wake_up_on(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self.woken.set()


def _is_over(batch: Batch, now: datetime) -> bool:
    """Tell whether the second that a batch took its tokens of is over; replies have no pace."""
    return batch.campaign_id is not None and pacing.second_of(now) != pacing.second_of(batch.claimed_at)


def find_pause(answers: Sequence[Answer], now: datetime) -> tuple[datetime | None, str]:
    """Return until when the provider wants no calls, the longest of what it asked for, and why."""
    until, reason = None, ""
    for answer in answers:
        if isinstance(answer.outcome, Postponed) and answer.outcome.pause_seconds is not None:
            end = now + timedelta(seconds=answer.outcome.pause_seconds)
            if until is None or end > until:
                until, reason = end, answer.outcome.text
    return until, reason
