"""simple_im and the servers that people would pick in its place, measured in turn on one machine, against goals."""
