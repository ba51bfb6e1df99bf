"""What a revision does: run the SQL file beside it."""

from pathlib import Path
from typing import NoReturn

import psycopg
from alembic import op

from event_stream_engine.kernel.errors import Conflict


def run_beside(revision_file: str) -> None:
    """Run the `.sql` file of the same name as one script: `%`, `:` and `$$` in it mean nothing to the driver."""
    script = Path(revision_file).with_suffix(".sql").read_bytes()
    connection = op.get_bind().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)  # noqa: S101 - narrows the driver's type for mypy
    connection.execute(script)


def refuse_downgrade() -> NoReturn:
    raise Conflict("Migrations only go forward. To go back, restore a backup made before the migration.")
