"""What the engine runs on: settings, logs, database, queries, migrations, embedded PostgreSQL. Imports kernel."""
