"""The logins that run people's SQL: `Readers` opens a connection for one query and gives it up afterwards.

`open_readers(settings, database_url)` makes it, without a connection: one for each process of web and worker.
"""
