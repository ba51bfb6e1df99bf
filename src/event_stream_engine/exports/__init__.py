"""Rows as files: CSV, NDJSON, Parquet, XLSX, by jobs that can be resumed.

Owns no table. May import analytics, audience, messaging, workbench and what is below them.
"""
