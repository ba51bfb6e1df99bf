"""What was done, by whom, when: an append-only record sealed in a chain of hashes.

Owns tables `audit_log`, `audit_batches`, `audit_verdicts`. May import infra and kernel.
"""
