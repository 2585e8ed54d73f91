"""Bytes to frames and back, with no I/O in it: framing, reading, writing, the compact dialect."""
