"""The tests of what measures the server: a wrong measure would be believed."""
