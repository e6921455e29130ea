"""The words of the benchmark: what can be seen and what can be answered."""

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
# Quadrants in reading order; the index is row * 2 + column.
PLACES = ("top-left", "top-right", "bottom-left", "bottom-right")
CHANGES = ("colour", "place", "number")
COUNTS = ("0", "1", "2", "3")
NEVER = "never"
YES_NO = ("yes", "no")
