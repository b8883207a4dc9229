"""What a text is made of: words and stems, identifiers, sentences, its language. Knows no ticket and no database."""
