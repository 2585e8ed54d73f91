"""simple_im's own workloads: a fresh node of this checkout under load, end to end; what it took is kept as JSON."""
