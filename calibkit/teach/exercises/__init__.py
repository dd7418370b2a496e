"""The exercises: one module a chapter, each with a tuple ``EXERCISES``."""

#: The chapters in the order of the course.
CHAPTERS = (
    *("start", "numbers", "artifacts", "noise", "bias", "dark", "flat", "ccd_example", "combining"),
    *("brightness", "dslr_challenges", "bayer_flats", "narrowband", "dslr_example", "find_the_fault"),
    "your_own_frames",
)
