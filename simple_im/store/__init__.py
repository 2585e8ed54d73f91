"""What is kept: SQL lives here and nowhere else."""
