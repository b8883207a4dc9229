"""Training the small model from scratch, and fine-tuning a large one on tickets. May use torch."""
