"""The tests of what nodes know of each other."""
