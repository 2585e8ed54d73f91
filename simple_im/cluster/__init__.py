"""Which nodes there are and who is signed in."""
