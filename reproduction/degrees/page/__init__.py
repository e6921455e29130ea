"""The page of the comparison: its sections, tables, figures and goals."""
