"""Messages and the provider: statuses, error codes, webhooks, the simulator.

Owns tables `messages`, `inbound_events`, `intent_words`, `phone_regions`, `error_codes`. May import stream, infra and kernel.
"""
