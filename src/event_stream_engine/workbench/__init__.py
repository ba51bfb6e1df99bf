"""People's own SQL: saved queries, and running them so that they can harm nothing.

Owns table `masking_key`. May import audit, stream, infra and kernel.
"""
