"""boundlint finds code that touches one customer's data without saying whose it is."""

__version__ = "0.1.0"
