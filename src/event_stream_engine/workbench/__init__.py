"""People's own SQL: saved queries, and running them so that they can harm nothing.

Owns no table. May import audit, stream, infra and kernel.
"""
