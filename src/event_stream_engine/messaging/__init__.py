"""Messages and the provider: statuses, error codes, webhooks, the SDK's client, the simulator.

Owns tables `messages`, `inbound_events`, `intent_words`, `phone_regions`, `phone_zones`. May import audit, stream,
infra and kernel.
"""
