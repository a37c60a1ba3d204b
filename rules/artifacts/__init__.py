"""Files and profiles that outlive a call."""
