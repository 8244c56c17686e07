"""JSON schemas of tools and answers: types of parameters, and keywords that cannot be enforced."""
