"""Small errors written into the package on purpose, to see whether the tests notice."""
