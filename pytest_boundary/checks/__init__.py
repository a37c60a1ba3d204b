"""What counts as scoped: keys, structured filters, SQL and rows. Pure functions that know no client."""
