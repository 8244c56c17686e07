"""The article, line by line: each claim of claims.toml against shapes, scores, prices and terms."""
