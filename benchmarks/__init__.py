"""Measurements of boundlint on real code: speed beside other linters, real applications, and accuracy."""
