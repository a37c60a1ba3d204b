"""The catalog of data clients: which calls touch customer data, and where each carries its scope."""
