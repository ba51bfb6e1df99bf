"""The database's history as plain SQL, run by Alembic. Forward only."""
