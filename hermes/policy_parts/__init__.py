"""What memory policies are made of: their base class, and what several of them share."""
