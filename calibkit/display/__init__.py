"""What is shown of a large frame: which part, in how many values, how bright, and beside what."""
