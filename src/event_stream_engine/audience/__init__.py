"""The people we write to and their consent.

Owns tables `users`, `consent_ledger`. May import stream, infra and kernel.
"""
