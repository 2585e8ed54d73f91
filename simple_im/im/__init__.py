"""The IM door: connections, sessions, and who gets what."""
