"""A server under torture: its disk, its clock and its process fail on command."""
