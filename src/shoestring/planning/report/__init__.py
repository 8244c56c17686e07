"""Plans and comparisons as text, HTML and JSON, with the charts."""
