"""Who may enter: operators, API keys, sessions, roles.

Owns tables `operators`, `api_keys`, `sessions`, `sign_in_attempts`. May import audit, stream, infra and kernel.
"""
