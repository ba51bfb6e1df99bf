import asyncio

import argon2
import pytest

from event_stream_engine.access import credentials
from event_stream_engine.access.credentials import hash_password, normalise_email, verify_password
from event_stream_engine.kernel.errors import Invalid

PASSWORD = "correct horse battery"


async def test_only_the_right_password_matches_its_hash() -> None:
    password_hash = await hash_password(PASSWORD)
    assert password_hash.startswith("$argon2id$")
    assert await verify_password(password_hash, PASSWORD)
    assert not await verify_password(password_hash, PASSWORD + " ")


async def test_two_hashes_of_one_password_differ() -> None:
    assert await hash_password(PASSWORD) != await hash_password(PASSWORD)


async def test_a_password_that_is_no_text_is_wrong_and_breaks_nothing() -> None:
    assert not await verify_password(await hash_password(PASSWORD), "\ud800" * 12)


async def test_nobody_has_a_hash_as_dear_as_a_real_one_and_no_password() -> None:
    """Equal parameters are equal work; that the verification runs to its end shows in the kind of its failure."""
    real = argon2.extract_parameters(await hash_password(PASSWORD))
    assert argon2.extract_parameters(credentials._HASH_OF_NOBODY) == real
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(credentials._HASH_OF_NOBODY, PASSWORD)
    assert not await verify_password(None, PASSWORD)


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 1025])
async def test_a_password_too_short_or_too_long_is_refused_by_field(password: str) -> None:
    with pytest.raises(Invalid) as refused:
        await hash_password(password)
    assert refused.value.field == "password"


async def test_hashing_lets_the_loop_turn() -> None:
    turns = 0
    hashing = asyncio.create_task(hash_password(PASSWORD))
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    # Hashed on the loop, it would be done within the first turn.
    assert turns > 5


def test_an_email_is_kept_in_lower_case() -> None:
    assert normalise_email("  Ana.Silva@Example.COM ") == "ana.silva@example.com"


@pytest.mark.parametrize(
    "text", ["", "ana", "@example.com", "ana@", "a b@example.com", "a@b@c", "a\x00@b", "\ud800@b"]
)
def test_what_is_no_email_is_refused_by_field(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        normalise_email(text)
    assert refused.value.field == "email"
