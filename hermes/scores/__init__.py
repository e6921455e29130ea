"""The formulas of the method (arXiv 2601.14724, section 3), on tensors, or states in eight bits."""
