"""What is sent, to whom, when and how fast: templates, campaigns, the compliance steps, the outbox, replies.

Owns tables `campaigns`, `templates`, `outbox`, `pace`, `provider_pauses`, `prohibited_words`, `quiet_hours_rules`,
`reply_rules`, `reply_times`, `reconciliations`. May import audience, messaging, access and what is below them.
"""
