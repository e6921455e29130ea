"""The pages: report of a comparison and memory inspector; self-contained HTML."""
