"""Foreign tensor names and layouts: the tables of both families, and the binding to our names."""
