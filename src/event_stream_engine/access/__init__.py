"""Who may enter: operators, API keys, sessions, roles.

Owns tables `operators`, `api_keys`, `sessions`. May import stream, infra and kernel.
"""
