"""Stands in for tests/conftest.py until both branches meet; delete on merge."""

import os
from collections.abc import Iterator
from importlib import resources
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo


@pytest.fixture
def database_url() -> Iterator[str]:
    server = os.environ["ESE_TEST_SERVER"]
    name = f"access_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        parts = conninfo.conninfo_to_dict(server)
        try:
            schema = resources.files("event_stream_engine.infra") / "migrations/versions/access.sql.part"
            with psycopg.connect(server, dbname=name, autocommit=True) as conn:
                conn.execute(schema.read_text("utf-8"))
            yield f"postgresql://{parts['user']}@/{name}?host={parts['host']}"
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
