"""The boundary itself: which functions have one."""
