"""Background shell: the projector loop, heartbeats, upkeep. Holds no rule; may import any slice."""
