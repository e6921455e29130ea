"""Several streams over one set of weights: their chunks, questions and answers in one batch."""
