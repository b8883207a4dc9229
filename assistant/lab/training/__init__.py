"""How the small model is made from nothing, and how a large one is fine-tuned on tickets. May use torch."""
