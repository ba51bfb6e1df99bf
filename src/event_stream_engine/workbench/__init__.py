"""People's own SQL: saved queries, and running them so that they can harm nothing.

Owns tables `masking_key`, `saved_queries`, `saved_query_versions`, `query_readings`. May import audit, stream, infra and
kernel.
"""
