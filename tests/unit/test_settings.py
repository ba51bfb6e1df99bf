import stat
import threading
from pathlib import Path

import pytest

from event_stream_engine.infra.settings import Settings, load_or_make_secret, load_settings
from event_stream_engine.kernel.errors import Invalid

SECRET = "s3cret-that-nobody-may-ever-read-in-a-log"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def load(folder: Path, **variables: str) -> Settings:
    return load_settings({"ESE_DATA_DIR": str(folder)} | variables)


def faults_of(folder: Path, **variables: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        load(folder, **variables)
    first, *faults = str(caught.value).splitlines()
    assert first == "The settings are not usable:"
    return [fault.removeprefix("  - ") for fault in faults]


def test_without_any_setting_the_engine_is_private_to_the_machine(folder: Path) -> None:
    settings = load(folder)
    assert (settings.host, settings.port, settings.public_url) == (
        "127.0.0.1",
        8000,
        "http://127.0.0.1:8000",
    )
    assert settings.database_url is None
    assert not settings.is_public_url_set
    assert settings.timezone.key == "UTC"
    assert len(settings.secret_key) == 64


def test_all_faults_are_listed_at_once(folder: Path) -> None:
    faults = faults_of(
        folder,
        ESE_DATABASE_URL="mysql://x",
        ESE_PORT="70000",
        ESE_PUBLIC_URL="engine.example.com",
        ESE_TWILIO_ACCOUNT_SID="AC1",
        ESE_TIMEZONE="Europe/Atlantis",
        ESE_LOG_FORMAT="xml",
        ESE_SPOOL_LIMIT_MB="0",
        ESE_SECRET_KEY="short",
        ESE_TWILIO_TOKEN="misspelt",
    )
    named = [fault.split()[0].rstrip(":") for fault in faults]
    assert named == [
        "ESE_DATABASE_URL",
        "ESE_PORT",
        "ESE_PUBLIC_URL",
        "ESE_TWILIO_ACCOUNT_SID",
        "ESE_SECRET_KEY",
        "ESE_TIMEZONE",
        "ESE_LOG_FORMAT",
        "ESE_SPOOL_LIMIT_MB",
        "ESE_TWILIO_TOKEN",
    ]
    assert "70000" in faults[1]
    assert faults[-1] == "ESE_TWILIO_TOKEN is not a setting of this engine"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ESE_PORT", "²"),
        ("ESE_PORT", "-1"),
        ("ESE_TIMEZONE", "/etc/localtime"),
        ("ESE_PUBLIC_URL", "https://engine.example.com:99999"),
        ("ESE_PUBLIC_URL", "https://engine.example.com/?a=b"),
        ("ESE_PUBLIC_URL", "https://[::1"),
        ("ESE_DATABASE_URL", "postgresql://[::1/ese"),
        ("ESE_DATABASE_URL", "postgresql://host/ese?nonsense=1"),
    ],
)
def test_a_value_that_would_fail_later_is_refused_at_start(folder: Path, name: str, text: str) -> None:
    (fault,) = faults_of(folder, **{name: text})
    assert fault.startswith(name)


@pytest.mark.parametrize(
    ("name", "text"),
    [("ESE_DATABASE_URL", f"mysql://ese:{SECRET}@db/ese"), ("ESE_SECRET_KEY", SECRET[:20])],
)
def test_a_faulty_secret_is_not_printed(folder: Path, name: str, text: str) -> None:
    assert SECRET[:20] not in "".join(faults_of(folder, **{name: text}))


def test_a_secret_may_come_from_a_file(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    assert load(folder, ESE_TWILIO_AUTH_TOKEN_FILE=str(file)).twilio_auth_tokens == (SECRET,)


def test_a_secret_file_that_gives_no_secret_is_a_fault(folder: Path, tmp_path: Path) -> None:
    """Falling back to what holds without the setting would start an engine that nobody configured."""
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    faults = faults_of(
        folder,
        ESE_SECRET_KEY_FILE=str(empty),
        ESE_TWILIO_AUTH_TOKEN_FILE=str(binary),
        ESE_TWILIO_AUTH_TOKEN_SECONDARY_FILE=str(tmp_path / "nowhere"),
    )
    assert len(faults) == 3
    assert all("_FILE" in fault for fault in faults)


def test_value_and_file_together_are_a_fault(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET)
    (fault,) = faults_of(folder, ESE_TWILIO_AUTH_TOKEN="other", ESE_TWILIO_AUTH_TOKEN_FILE=str(file))
    assert fault == "ESE_TWILIO_AUTH_TOKEN and ESE_TWILIO_AUTH_TOKEN_FILE are both set; keep one"


def test_only_secrets_come_from_files(folder: Path) -> None:
    assert faults_of(folder, ESE_PORT_FILE="/port") == ["ESE_PORT_FILE is not a setting of this engine"]


def test_both_tokens_hold_during_rotation(folder: Path) -> None:
    settings = load(folder, ESE_TWILIO_AUTH_TOKEN="new", ESE_TWILIO_AUTH_TOKEN_SECONDARY="old")
    assert settings.twilio_auth_tokens == ("new", "old")


def test_without_a_token_nothing_that_needs_the_provider_starts(folder: Path) -> None:
    with pytest.raises(Invalid, match="ESE_TWILIO_AUTH_TOKEN is not set"):
        load(folder).require_provider()


def test_the_made_secret_stays_the_same_and_is_the_owners_alone(folder: Path) -> None:
    first = load(folder).secret_key
    assert load(folder).secret_key == first
    assert stat.S_IMODE((folder / "secret-key").stat().st_mode) == 0o600


def test_processes_that_start_together_come_to_one_secret(tmp_path: Path) -> None:
    for number in range(20):
        path, found, together = tmp_path / str(number), [], threading.Barrier(8)

        def load_one(
            path: Path = path, found: list[str] = found, together: threading.Barrier = together
        ) -> None:
            together.wait()
            found.append(load_or_make_secret(path))

        threads = [threading.Thread(target=load_one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1
        assert len(found[0]) == 64
    assert len(list(tmp_path.iterdir())) == 20


def test_attributes_are_a_list_of_names_each_once(folder: Path) -> None:
    assert load(folder).attributes == ("city", "tier")
    assert load(folder, ESE_ATTRIBUTES="plan, city,plan").attributes == ("plan", "city")
    for bad in ("city,,tier", ",".join(f"a{number}" for number in range(11)), "x" * 101):
        assert "ESE_ATTRIBUTES" in faults_of(folder, ESE_ATTRIBUTES=bad)[0]
