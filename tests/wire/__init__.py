"""The wire: bytes to frames to items, and back."""
