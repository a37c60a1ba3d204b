"""Bleed: data seeded for one tenant that surfaces while another's boundary is active."""
