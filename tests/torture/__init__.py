"""The tests of what tortures the server: faults that do nothing would prove nothing."""
