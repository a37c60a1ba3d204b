"""A small multi-tenant support agent: one process, many customers."""
