"""Retrieval: vector and document searches, and the filters they take."""
