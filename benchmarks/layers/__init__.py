"""What a message costs the server, by layer: from samples of a running node, in microseconds of CPU time a message."""
