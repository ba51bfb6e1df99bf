"""From a webhook to a projected state: intake (group commit) and projection.

Owns no table: it drives those of stream, messaging and audience. May import them and what is below.
"""
