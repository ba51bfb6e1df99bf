"""The pace of campaigns, held by two workers together."""

import asyncio
from collections import Counter
from pathlib import Path

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from tests.sending import add_campaign, add_people, fill_outbox
from tests.sending_running import list_given, running_sender, running_simulator

LIMITS = (1, 10, 200)
SECONDS = 25
PEOPLE = 5000
USED = 0.95


async def test_two_workers_use_the_limit_and_no_second_goes_above_it(
    database_url: str, tmp_path: Path, free_port: int
) -> None:
    clock = SystemClock()
    async with (
        asyncio.timeout(60),
        running_simulator(free_port, clock) as simulator,
        await connect(database_url, "test") as conn,
    ):
        await add_people(conn, PEOPLE, clock.now())
        await add_people(
            conn, PEOPLE // 10, clock.now(), first=PEOPLE, state="OPT_OUT"
        )  # denials take no tokens
        campaigns = {
            limit: await add_campaign(
                conn, clock.now(), name=f"Limit {limit}", body=f"Limit {limit}", rate=limit
            )
            for limit in LIMITS
        }
        for campaign_id in campaigns.values():
            await fill_outbox(conn, campaign_id, clock.now())
        async with (
            running_sender(database_url, tmp_path, simulator, "0"),
            running_sender(database_url, tmp_path, simulator, "0"),
        ):
            await asyncio.sleep(SECONDS + 3)  # both have to start first
        given = await list_given(simulator)
        for limit, campaign_id in campaigns.items():
            rows = await conn.execute(
                "SELECT date_trunc('second', (after #>> '{steps,4,handed_at}')::timestamptz), count(*) FROM audit_log"
                " WHERE action = 'compliance.allowed' AND after ->> 'campaign_id' = %s GROUP BY 1 ORDER BY 1",
                (str(campaign_id),),
            )
            seconds = [int(messages) for _, messages in await rows.fetchall()]
            # In the first ones the workers were still starting, the last one was cut off.
            whole = seconds[6:-1]
            arrived = Counter(one["date_created"] for one in given if one["body"] == f"Limit {limit}")
            print(
                f"limit {limit}: {len(whole)} seconds, {min(whole)} to {max(seconds)},"
                f" {sum(whole) / len(whole) / limit:.1%} used; at the provider {max(arrived.values())} at most;"
                f" {seconds}"
            )
            assert max(seconds) <= limit
            assert sum(whole) >= USED * limit * len(whole)
            assert len(whole) >= SECONDS - 10
