"""Settings from the environment: read once, frozen, all faults listed at once.

Every secret may also come from a file: `ESE_SECRET_KEY_FILE=/run/secrets/key`. `docs/configuration.md` is generated
from `SETTINGS`.
"""

import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from event_stream_engine.kernel.errors import Invalid


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What goes to a collector of OpenTelemetry. Where to and how is read by its SDK."""

    traces: bool
    metrics: bool
    interval_seconds: float  # between two exports of metrics


@dataclass(frozen=True, slots=True)
class Settings:
    database_url: str | None
    data_dir: Path
    host: str
    port: int
    public_url: str
    is_public_url_set: bool  # without it a webhook's own Host header tells which URL was signed
    twilio_account_sid: str | None
    twilio_auth_tokens: tuple[str, ...]
    provider: str  # twilio, or the simulator at simulator_url
    simulator_url: str
    secret_key: str
    timezone: ZoneInfo
    attributes: tuple[str, ...]  # of users, to count them by
    log_format: str
    spool_limit_bytes: int
    exports_limit_bytes: int
    telemetry: Telemetry
    private_targets: tuple[IPv4Network | IPv6Network, ...]  # that notifications may go to all the same
    deadman_url: str | None
    redis_url: str | None
    reporting_database_url: str | None  # where people's own queries run, when not in the database itself

    def require_provider(self) -> None:
        """Check that callbacks can be verified. Errors: Invalid saying what to set."""
        if not self.twilio_auth_tokens:
            raise Invalid(
                "ESE_TWILIO_AUTH_TOKEN is not set, so no webhook could be verified. Set it and"
                " ESE_TWILIO_ACCOUNT_SID, or start with `ese up --demo` to use the simulator."
            )


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: how it is read, what it is for, what holds without it."""

    name: str
    read: Callable[[str], Any]
    meaning: str
    default: str | None = None
    secret: bool = False


def _database_url(text: str) -> str:
    example = "write it like postgresql://user:password@host:5432/ese"
    if not re.match(r"postgres(ql)?://", text):
        raise ValueError(example)
    try:
        conninfo_to_dict(text)
    except ProgrammingError:  # its message repeats the URL, and with it the password
        raise ValueError(example) from None
    return text


def _redis_url(text: str) -> str:
    if not re.match(r"(redis|rediss|unix)://.", text):
        raise ValueError("write it like redis://:password@host:6379/0")
    return text


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("write it like https://engine.example.com, without query")
    _ = parts.port  # raises for one that is none
    return text.rstrip("/")


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write it like https://hc.example.com/ping/…")
    _ = parts.port  # raises for one that is none
    return text


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{error}; write networks like 10.1.0.0/16,192.168.4.7") from None


def _port(text: str) -> int:
    if not (text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError("a whole number from 1 to 65535 is needed")
    return int(text)


def _megabytes(text: str) -> int:
    if not (text.isdigit() and int(text) > 0):
        raise ValueError("a whole number of megabytes above 0 is needed")
    return int(text) * 1024 * 1024


def _account_sid(text: str) -> str:
    if not re.fullmatch(r"AC[0-9a-fA-F]{32}", text):
        raise ValueError("an account SID is AC and 32 hexadecimal digits")
    return text


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("use a name of the tz database, like Europe/Berlin") from None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if len(names) > 10 or not all(1 <= len(name) <= 100 and name.isprintable() for name in names):
        raise ValueError("one to ten names of 1 to 100 characters with commas between them are needed")
    return names


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"use one of {', '.join(allowed)}")
        return text

    return read


def _long_secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError("at least 32 characters are needed; make one with `openssl rand -hex 32`")
    return text


SETTINGS = (
    Setting(
        "ESE_DATABASE_URL",
        _database_url,
        "PostgreSQL 15 or newer. Without it an embedded PostgreSQL keeps its data in ESE_DATA_DIR.",
        secret=True,
    ),
    Setting(
        "ESE_DATA_DIR", Path, "Folder for the embedded PostgreSQL, the spool and generated secrets.", "./.ese"
    ),
    Setting("ESE_HOST", str, "Address the web process listens on.", "127.0.0.1"),
    Setting("ESE_PORT", _port, "Port the web process listens on.", "8000"),
    Setting(
        "ESE_PUBLIC_URL",
        _http_url,
        "The address Twilio and people reach the engine by, as seen outside a proxy; webhook signatures are checked against it. Default: http://ESE_HOST:ESE_PORT.",
    ),
    Setting(
        "ESE_TWILIO_ACCOUNT_SID",
        _account_sid,
        "The account whose callbacks are taken; those of another are quarantined.",
    ),
    Setting("ESE_TWILIO_AUTH_TOKEN", str, "Key of the webhook signatures and of the REST API.", secret=True),
    Setting(
        "ESE_TWILIO_AUTH_TOKEN_SECONDARY",
        str,
        "A second token that is accepted too while the first is being rotated.",
        secret=True,
    ),
    Setting(
        "ESE_PROVIDER",
        _one_of("twilio", "simulator"),
        "Who hands messages over: twilio, or the simulator, which speaks the same API and sends nothing.",
        "twilio",
    ),
    Setting(
        "ESE_SIMULATOR_URL",
        _http_url,
        "Where the simulator of `ese simulate` listens, with ESE_PROVIDER=simulator.",
        "http://127.0.0.1:8001",
    ),
    Setting(
        "ESE_SECRET_KEY",
        _long_secret,
        "Key of the engine's own signatures. Without it one is made and kept in ESE_DATA_DIR.",
        secret=True,
    ),
    Setting(
        "ESE_TIMEZONE",
        _zone,
        "The workspace's time zone: days, weeks and hours of the day are counted in it.",
        "UTC",
    ),
    Setting(
        "ESE_ATTRIBUTES",
        _names,
        "Attributes that users are counted by. None that tells who somebody is: the values stay in the log after an erasure.",
        "city,tier",
    ),
    Setting("ESE_LOG_FORMAT", _one_of("text", "json"), "text for people, json for machines.", "text"),
    Setting(
        "ESE_SPOOL_LIMIT_MB",
        _megabytes,
        "How much may wait on disk while the database is away; beyond it webhooks are refused with 503.",
        "1024",
    ),
    Setting(
        "ESE_EXPORTS_LIMIT_MB",
        _megabytes,
        "How much the files of exports may take in the database, all together; beyond it no other is made.",
        "10240",
    ),
    Setting(
        "ESE_PRIVATE_TARGETS",
        _networks,
        "Networks, with commas between them, that notifications may go to although they are not public: 10.1.0.0/16,192.168.4.7.",
    ),
    Setting(
        "ESE_DEADMAN_URL",
        _url,
        "Address that is asked for (GET) each minute, as long as events get through to the alerts. Without it there is no dead-man's switch.",
        secret=True,
    ),
    Setting(
        "ESE_REDIS_URL",
        _redis_url,
        "A Redis whose memory and health are to be watched. The engine needs none; this needs the extra `event-stream-engine[redis]`.",
        secret=True,
    ),
    Setting(
        "ESE_REPORTING_DATABASE_URL",
        _database_url,
        "Where people's own SQL runs: a replica of the database. User and password in it do not count: the logins are those that `ese migrate` makes. Without it their SQL runs in the database itself.",
        secret=True,
    ),
)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    Errors: Invalid with one line for each fault, all of them at once.
    """
    environ = os.environ if environ is None else environ
    faults: list[str] = []
    values = {setting.name: _read(setting, environ, faults) for setting in SETTINGS}
    known = {setting.name for setting in SETTINGS} | {f"{s.name}_FILE" for s in SETTINGS if s.secret}
    faults += [
        f"{name} is not a setting of this engine"
        for name in sorted(environ)
        if name.startswith("ESE_") and name not in known
    ]
    telemetry = _read_telemetry(environ, faults)
    if faults:
        raise Invalid("The settings are not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))
    data_dir = Path(values["ESE_DATA_DIR"]).expanduser().absolute()
    tokens = (values["ESE_TWILIO_AUTH_TOKEN"], values["ESE_TWILIO_AUTH_TOKEN_SECONDARY"])
    return Settings(
        database_url=values["ESE_DATABASE_URL"],
        data_dir=data_dir,
        host=values["ESE_HOST"],
        port=values["ESE_PORT"],
        public_url=values["ESE_PUBLIC_URL"] or f"http://{values['ESE_HOST']}:{values['ESE_PORT']}",
        is_public_url_set=bool(values["ESE_PUBLIC_URL"]),
        twilio_account_sid=values["ESE_TWILIO_ACCOUNT_SID"],
        twilio_auth_tokens=tuple(token for token in tokens if token),
        provider=values["ESE_PROVIDER"],
        simulator_url=values["ESE_SIMULATOR_URL"],
        secret_key=values["ESE_SECRET_KEY"] or load_or_make_secret(data_dir / "secret-key"),
        timezone=values["ESE_TIMEZONE"],
        attributes=values["ESE_ATTRIBUTES"],
        log_format=values["ESE_LOG_FORMAT"],
        spool_limit_bytes=values["ESE_SPOOL_LIMIT_MB"],
        exports_limit_bytes=values["ESE_EXPORTS_LIMIT_MB"],
        telemetry=telemetry,
        private_targets=values["ESE_PRIVATE_TARGETS"] or (),
        deadman_url=values["ESE_DEADMAN_URL"],
        redis_url=values["ESE_REDIS_URL"],
        reporting_database_url=values["ESE_REPORTING_DATABASE_URL"],
    )


def _read_telemetry(environ: Mapping[str, str], faults: list[str]) -> Telemetry:
    """Return what the standard variables of OpenTelemetry ask for: nothing, as long as no collector is named."""

    def is_wanted(signal: str) -> bool:
        names = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        return (
            any(environ.get(name) for name in names)
            and environ.get(f"OTEL_{signal}_EXPORTER", "otlp") != "none"
            and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
        )

    interval = environ.get("OTEL_METRIC_EXPORT_INTERVAL", "") or "60000"
    telemetry = Telemetry(
        is_wanted("TRACES"), is_wanted("METRICS"), int(interval) / 1000 if interval.isdigit() else 60.0
    )
    if telemetry.traces or telemetry.metrics:
        if environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") != "http/protobuf":
            faults.append("OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf is spoken")
        if not (interval.isdigit() and int(interval) >= 1000):
            faults.append("OTEL_METRIC_EXPORT_INTERVAL: a whole number of milliseconds from 1000 is needed")
        if find_spec("opentelemetry.exporter") is None:
            faults.append(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: install event-stream-engine[otel]"
            )
    return telemetry


def _read(setting: Setting, environ: Mapping[str, str], faults: list[str]) -> Any:
    text = environ.get(setting.name, "")
    file = environ.get(f"{setting.name}_FILE", "") if setting.secret else ""
    if text and file:
        faults.append(f"{setting.name} and {setting.name}_FILE are both set; keep one")
        return None
    try:
        if file:
            text = Path(file).read_text("utf-8").strip()
            if not text:
                raise ValueError(f"{setting.name}_FILE names an empty file")
        text = text or setting.default or ""
        return setting.read(text) if text else None
    except OSError as error:
        faults.append(f"{setting.name}_FILE cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        faults.append(f"{setting.name}_FILE cannot be read: it is no text")
    except ValueError as error:
        shown = "" if setting.secret else f" is {text!r}:"
        faults.append(f"{setting.name}{shown} {error}")
    return None


def load_or_make_secret(path: Path) -> str:
    """Return the secret kept in a file, making file and secret (256 bits, mode 0600) on first use."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Linked into place when it is whole: a process that starts beside us must not read an empty secret.
        with NamedTemporaryFile("w", encoding="ascii", dir=path.parent) as file, suppress(FileExistsError):
            file.write(secrets.token_hex(32))
            file.flush()
            os.link(file.name, path)
    return path.read_text("ascii").strip()


def environment_without_settings() -> dict[str, str]:
    """Return this process's environment for a child that is to know nothing of the engine."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ESE_")}


def extend_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with additions, for a child that reads its own settings."""
    return {**os.environ, **additions}
