"""Training the heads that read cues out of a message: our own examples, fitting, measuring."""
