"""NanoStream: a generated benchmark of short and long streams, small enough for a laptop."""
