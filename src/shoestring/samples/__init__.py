"""Where test models come from: the two embedded ones, and random models of any config."""
