"""What a text consists of: words and stems, identifiers, sentences, its language. Knows neither tickets nor
databases."""
