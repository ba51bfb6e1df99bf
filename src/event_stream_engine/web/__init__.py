"""HTTP shell: webhooks, API, pages. Holds no rule; may import any slice, never worker or cli."""
