"""Where articles come from: one module for each kind of file or place. `assistant.retrieval.loaders` is the face."""
