"""Which country and which time zones a number belongs to, as the database knows it: libphonenumber's data in tables.

The library takes 30 µs a number in Python; here the projection asks for it inside its one statement. A test holds the
two to the same answer.
"""

from collections.abc import Iterator

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from phonenumbers.tzdata import TIMEZONE_DATA

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
_KINDS = (
    "premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail", "fixed_line", "mobile",
)  # fmt: skip


async def refresh_phone_regions(conn: Connection) -> None:
    """Bring the tables `phone_regions` and `phone_zones` to the library's present state."""
    await SQL.refresh_phone_zones.execute(
        conn, {"prefix": list(TIMEZONE_DATA), "zones": ["|".join(zones) for zones in TIMEZONE_DATA.values()]}
    )
    columns = list(zip(*_list_regions(), strict=True))
    names = ("calling_code", "position", "region", "pattern")
    await SQL.refresh_phone_regions.execute(conn, dict(zip(names, map(list, columns), strict=True)))


def _list_regions() -> Iterator[tuple[str, int, str, str | None]]:
    for calling_code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        for position, region in enumerate(regions):
            yield str(calling_code), position, region, _pattern_of(region) if len(regions) > 1 else None


def _pattern_of(region: str) -> str:
    """Return what tells a region from the others of its calling code, as the library decides it."""
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        raise LookupError(f"libphonenumber has no metadata for its region {region}")
    if metadata.leading_digits:
        return f"^(?:{metadata.leading_digits})"
    kinds = (getattr(metadata, kind) for kind in _KINDS)
    patterns = [
        kind.national_number_pattern for kind in kinds if kind is not None and kind.national_number_pattern
    ]
    return f"^(?:{'|'.join(patterns)})$"
