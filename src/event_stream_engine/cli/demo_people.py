"""The demo's people: 25,000 customers of a made-up shop, who joined, and partly left, over the past year."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random

from event_stream_engine.audience.importing import begin_local, create_import, list_imports, run_import
from event_stream_engine.audit.entries import Actor
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.messaging.simulated_traffic import draw_crowd

PEOPLE = 25_000
FILES = 52
APART = timedelta(days=7)
GROWTH = 1.4  # the later a file, the more newcomers it has
PROOF = "Double opt-in on the shop's sign-up page"
_HEADER = ("phone", "consent", "timezone", "first_name", "city", "tier", "orders", "birth_year")
_NAMES = (
    *("Ana", "Ben", "Chen", "Dilani", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kamala", "Liam"),
    *("Maria", "Nuwan", "Olivia", "Priya", "Quinn", "Rosa", "Sven", "Tara", "Uma", "Victor", "Wanda", "Zoë"),
)
_TIERS = ("bronze", "silver", "gold", "platinum")
_TIER_WEIGHTS = (60, 25, 12, 3)
# Beginning of the number → cities with their zone. The longest beginning decides.
_CITIES = {
    "+1206": (("Seattle", "America/Los_Angeles"),),
    "+1212": (("New York", "America/New_York"),),
    "+1305": (("Miami", "America/New_York"),),
    "+1415": (("San Francisco", "America/Los_Angeles"),),
    "+1512": (("Austin", "America/Chicago"),),
    "+1416": (("Toronto", "America/Toronto"),),
    "+1647": (("Toronto", "America/Toronto"),),
    "+1514": (("Montréal", "America/Toronto"),),
    "+1604": (("Vancouver", "America/Vancouver"),),
    "+44": (("London", "Europe/London"), ("Leeds", "Europe/London"), ("Glasgow", "Europe/London")),
    "+94": (("Colombo", "Asia/Colombo"), ("Kandy", "Asia/Colombo"), ("Galle", "Asia/Colombo")),
    "+91": (("Mumbai", "Asia/Kolkata"), ("Delhi", "Asia/Kolkata"), ("Chennai", "Asia/Kolkata")),
    "+49": (("Berlin", "Europe/Berlin"), ("Hamburg", "Europe/Berlin"), ("München", "Europe/Berlin")),
    "+55": (("São Paulo", "America/Sao_Paulo"), ("Rio de Janeiro", "America/Sao_Paulo")),
}


async def make_demo_people(
    conn: Connection,
    actor: Actor,
    secret_key: str,
    now: datetime,
    *,
    crowd: tuple[str, ...],
    on_file: Callable[[int], None],
) -> None:
    """Import a year of sign-up files, each at its time, unless there are imports already. `on_file` is told the rows.

    `crowd` are the people other messages go to; they are customers too. Before a worker starts, which would take an
    import with an old sign of life for left behind.
    """
    if await list_imports(conn, 1):
        return
    for name, content, at in make_files(crowd, now):
        clock = SettableClock(at)
        async with transaction(conn):
            new = await create_import(conn, actor, at, file_name=name, file_format="csv", consent_proof=PROOF)
            begun = await begin_local(conn, new.id, len(content), at)

        async def ignore(_: object) -> None: ...

        done = await run_import(
            conn, begun, io.BytesIO(content), secret_key=secret_key, clock=clock, on_progress=ignore
        )
        on_file(done.rows)


def make_files(crowd: tuple[str, ...], now: datetime) -> Iterator[tuple[str, bytes, datetime]]:
    """Yield name, content and time of each file: newcomers, and some of those before who want no more."""
    chance = Random("demo people")  # noqa: S311
    numbers = list(
        dict.fromkeys(
            [address.removeprefix("whatsapp:") for address in crowd] + [*draw_crowd(2, PEOPLE, 0.0)]
        )
    )[:PEOPLE]
    chance.shuffle(numbers)
    done = 0
    for file in range(FILES):
        at = now - (FILES - file) * APART + timedelta(hours=chance.random() * 100)
        end = round(PEOPLE * ((file + 1) / FILES) ** GROWTH)
        rows = [_draw_person(chance, number) for number in numbers[done:end]]
        leaving = chance.sample(numbers[:done], min(done, 8))
        rows += [(number, chance.choice(("OPT_OUT", "OPT_OUT", "STOP"))) for number in leaving]
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(_HEADER)
        writer.writerows((*row, *[""] * (len(_HEADER) - len(row))) for row in rows)
        yield f"customers-{at:%Y-%m-%d}.csv", text.getvalue().encode(), at
        done = end


def _draw_person(chance: Random, number: str) -> tuple[object, ...]:
    beginning = next(start for start in (number[:5], number[:3]) if start in _CITIES)
    city, zone = chance.choice(_CITIES[beginning])
    consent = chance.choices(("OPT_IN", "", "OPT_OUT"), (92, 6, 2))[0]
    return (
        number,
        consent,
        zone if chance.random() < 0.4 else "",
        chance.choice(_NAMES),
        city,
        chance.choices(_TIERS, _TIER_WEIGHTS)[0],
        int(chance.expovariate(1 / 6)),
        chance.randint(1950, 2007),
    )
