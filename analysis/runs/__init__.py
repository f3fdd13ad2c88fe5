"""Run folders: reading, units, and how they are shown."""
