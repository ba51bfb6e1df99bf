"""What to change: recommendations with their evidence, and capacity.

Owns tables `recommendations`, `recommendation_looks`. May import monitoring, analytics, campaigns and what is below them.
"""
