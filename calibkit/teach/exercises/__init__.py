"""The exercises: one module a chapter, each with a tuple ``EXERCISES``."""
