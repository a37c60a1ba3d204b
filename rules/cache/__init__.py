"""Caches: keys and memoized functions."""
