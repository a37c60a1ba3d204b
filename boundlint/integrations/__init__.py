"""Where boundlint runs inside other tools."""
