"""The database knows a number's country as libphonenumber does."""

import random

import phonenumbers

from event_stream_engine.infra.database import connect
from event_stream_engine.messaging.regions import refresh_phone_regions

QUERY = "SELECT n, c.country FROM unnest(%s::text[]) AS n LEFT JOIN LATERAL phone_country(n) AS c ON true"


def make_numbers() -> list[str]:
    """An example of each kind for each region, each with its last digits changed, and numbers of no region at all."""
    numbers = {"+999123456789", "+1415", "+14155550100", "+10000000000"}
    kinds = (
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE,
        phonenumbers.PhoneNumberType.TOLL_FREE,
    )
    draw = random.Random(1)
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in kinds:
            example = phonenumbers.example_number_for_type(region, kind)
            if example is not None:
                number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
                numbers |= {number, number[:-4] + f"{draw.randrange(10_000):04d}"}
    for _ in range(2000):  # shared calling codes are where the patterns count
        numbers.add(f"+1{draw.randrange(200, 1000)}{draw.randrange(200, 1000)}{draw.randrange(10_000):04d}")
        numbers.add(f"+44{draw.randrange(1_000_000_000, 8_000_000_000)}")
    return sorted(numbers)


def find_region(number: str) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None


async def test_the_country_of_a_number_is_the_one_the_library_names(database_url: str) -> None:
    numbers = make_numbers()
    async with await connect(database_url, "test") as conn:
        found = dict(await (await conn.execute(QUERY, (numbers,))).fetchall())
    different = {
        number: (found[number], find_region(number))
        for number in numbers
        if found[number] != find_region(number)
    }
    assert different == {}


async def test_refreshing_again_changes_nothing(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        read = "SELECT count(*), md5(string_agg(r::text, ',' ORDER BY calling_code, position)) FROM phone_regions r"
        before = await (await conn.execute(read)).fetchone()
        await refresh_phone_regions(conn)
        assert await (await conn.execute(read)).fetchone() == before
