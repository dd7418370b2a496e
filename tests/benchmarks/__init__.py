"""Side-by-side measurements: run by hand, never timed by tests."""
