"""Agent memory: what is kept for a user between runs."""
