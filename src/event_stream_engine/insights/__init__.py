"""What to change: recommendations with their evidence, and capacity.

Owns no table. May import monitoring, analytics, campaigns and what is below them.
"""
