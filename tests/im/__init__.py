"""The tests of the IM door."""
