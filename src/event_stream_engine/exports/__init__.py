"""Rows as files: CSV, NDJSON, Parquet, XLSX, made by jobs that survive whoever makes them.

Owns tables `exports`, `export_parts`. May import analytics, audience, messaging, workbench and what is below them.
"""
