"""Records: rows of customers' models, loaded and changed by id or in bulk."""
