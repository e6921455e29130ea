"""Where the tokens of a stream lie, and what is known of them."""
