"""Provenance: which boundary, if any, each scope argument of a data access surely carries."""
