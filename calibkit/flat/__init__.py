"""The flat: its preparation step by step, and what whole numbers cost it."""
