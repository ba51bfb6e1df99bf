"""What the engine tells other tools: the one place that declares each instrument of /metrics and of OpenTelemetry.

All of it is read from the database, so any process answers for the whole engine. `readings.py` reads the values,
docs/prometheus.md is made from here, and a test holds both to this list.
"""

from dataclasses import dataclass

from event_stream_engine.analytics.totals import Distribution

Labels = tuple[str, ...]
Sample = float | Distribution
Readings = dict[str, dict[Labels, Sample]]  # by name of the instrument and values of its labels

# Bounds of the distributions, in seconds. They are met with the sketch's error: what lies within 1 % of a bound may be counted
# on its other side.
REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PROCESSING_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
DELIVERY_BOUNDS = (
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
    21600.0,
    86400.0,
)


@dataclass(frozen=True, slots=True)
class Instrument:
    """`kind`: counter (never falls), gauge or histogram. `unit`: as in the name; empty where things are counted."""

    name: str
    kind: str
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    name: str
    instruments: tuple[Instrument, ...]


def _counter(name: str, text: str, *labels: str) -> Instrument:
    return Instrument(name, "counter", "", text, labels)


def _gauge(name: str, text: str, *labels: str, unit: str = "") -> Instrument:
    return Instrument(name, "gauge", unit, text, labels)


def _histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Instrument:
    return Instrument(name, "histogram", "seconds", text, labels, bounds)


SUBJECTS = (
    Subject(
        "The engine itself",
        (
            _gauge("ese_build_info", "1; the labels tell what is running.", "version", "python", "postgresql"),
            _gauge("ese_ready", "1 while every needed process gives signs of life, else 0."),
            _gauge("ese_ready_seconds", "Time since the engine last became ready; 0 while it is not.", unit="seconds"),
            _gauge("ese_uptime_ratio", "Minutes with every needed process alive, of those of the last 7 days; absent before the first full minute.", unit="ratio"),
            _gauge("ese_processes", "Processes that gave a sign of life in the last 15 s.", "kind"),
        ),
    ),
    Subject(
        "Webhooks and the log",
        (
            _counter("ese_webhooks_total", "Webhooks that came, by what became of them. reason: why one was rejected.", "event_type", "outcome", "reason"),
            _histogram("ese_webhook_processing_seconds", "Live webhooks from receipt to a stage: stored (durable, so answered) or applied (in state and figures).", PROCESSING_BOUNDS, "stage"),
            _counter("ese_webhooks_dead_total", "Live webhooks that became dead letters."),
            _counter("ese_events_projected_total", "Events of the log that the projector has read."),
            _gauge("ese_projector_lag_events", "Events that wait for the projector; counting ends at 10000."),
            _gauge("ese_projector_lag_seconds", "Age of the oldest event that waits for the projector.", unit="seconds"),
            _gauge("ese_spool_events", "Events that wait on the disks of web processes for the database."),
            _gauge("ese_dead_letters", "Unresolved dead letters."),
        ),
    ),
    Subject(
        "Requests",
        (
            _counter("ese_http_requests_total", "Requests by template of the route, method and class of the status; 'none': it ended without an answer.", "route", "method", "status_class"),
            _histogram("ese_http_request_seconds", "Requests from their arrival to the end of the answer; a stream of events to its first byte.", REQUEST_BOUNDS, "route", "method"),
        ),
    ),
    Subject(
        "Messages",
        (
            _counter("ese_messages_sent_total", "Messages the provider took."),
            _counter("ese_messages_delivered_total", "Messages that became delivered, read ones among them."),
            _counter("ese_messages_read_total", "Messages that became read."),
            _counter("ese_messages_failed_total", "Messages that failed, also if they were delivered after all. error_code 0: none was named.", "error_code"),
            _histogram("ese_delivery_seconds", "Messages from the provider's acceptance to the first `delivered`.", DELIVERY_BOUNDS),
            _gauge("ese_recent_messages", "Messages handed over in the last hour or 24 hours, by present status.", "window", "status"),
            _gauge("ese_recent_messages_sent", "Those of them that the provider took: what delivery rates are taken of.", "window"),
        ),
    ),
    Subject(
        "Campaigns and the outbox",
        (
            _gauge("ese_campaigns", "Campaigns by state.", "state"),
            _gauge("ese_outbox_messages", "Messages that wait to be handed over; counting ends at 20000."),
            _gauge("ese_outbox_overdue_seconds", "How long the oldest due message of a running campaign, or reply, has been waiting.", unit="seconds"),
        ),
    ),
    Subject(
        "People",
        (
            _gauge("ese_users", "Users by consent state.", "state"),
            _counter("ese_consent_transitions_total", "Changes of consent.", "from_state", "to_state"),
            _counter("ese_inbound_messages_total", "Inbound messages by intent.", "intent"),
        ),
    ),
    Subject(
        "Compliance and audit",
        (
            _gauge("ese_recent_compliance_violations", "Violations found in what was handed over in the last 24 hours.", "kind"),
            _gauge("ese_compliance_lag_seconds", "Age of the oldest decision that is not checked yet.", unit="seconds"),
            _gauge("ese_audit_unsealed_entries", "Entries of the audit trail that are not sealed yet; counting ends at 100000."),
            _gauge("ese_audit_lag_seconds", "Age of the oldest entry that is not sealed yet.", unit="seconds"),
        ),
    ),
    Subject(
        "Hosts and processes",
        (
            _gauge("ese_host_cpu_ratio", "Processor of a host, or of the container's share, in use; mean of the last one to two minutes, as the others here.", "host", unit="ratio"),
            _gauge("ese_host_memory_ratio", "Memory of a host or container in use.", "host", unit="ratio"),
            _gauge("ese_host_disk_ratio", "The file system of ESE_DATA_DIR in use.", "host", unit="ratio"),
            _gauge("ese_host_disk_free_bytes", "What is free on it.", "host", unit="bytes"),
            _gauge("ese_processes_cpu_ratio", "Processor time of the processes of a kind; 1 is one core.", "host", "kind", unit="ratio"),
            _gauge("ese_processes_memory_bytes", "Memory of the processes of a kind.", "host", "kind", unit="bytes"),
            _gauge("ese_processes_open_files", "Open files of the processes of a kind.", "host", "kind"),
        ),
    ),
    Subject(
        "Database",
        (
            _gauge("ese_database_connections", "Connections to this database."),
            _gauge("ese_database_connections_limit", "Connections the server allows, to all its databases."),
            _gauge("ese_pool_connections", "Connections of the web processes' pools: active, idle, and max: what they may have.", "state"),
            _gauge("ese_pool_waiting_requests", "Requests that wait for a connection of a pool."),
            _gauge("ese_database_bytes", "Size of this database on disk.", unit="bytes"),
            _counter("ese_database_transactions_total", "Transactions of this database since its statistics began: committed or rolled_back.", "outcome"),
            _counter("ese_database_blocks_total", "Blocks that were asked for since then, from the server's cache or through the operating system: hit or read.", "source"),
            _counter("ese_database_deadlocks_total", "Deadlocks since then."),
        ),
    ),
)  # fmt: skip
INSTRUMENTS = {instrument.name: instrument for subject in SUBJECTS for instrument in subject.instruments}
