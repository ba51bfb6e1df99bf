"""The people we write to: profiles, consent, segments, imports.

Owns tables `users`, `consent_ledger`, `suppressions`, `erasures`, `segments`, `imports`, `import_chunks`,
`import_rejects`. May import audit, stream, infra and kernel.
"""
