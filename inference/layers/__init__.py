"""What a decoder layer computes beside attention: module by module, or in few operators."""
