"""Messages and the provider: statuses, error codes, webhooks, the simulator.

Owns tables `messages`, `inbound_events`, `intent_words`, `phone_regions`. May import stream, infra and kernel.
"""
