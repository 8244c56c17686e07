"""The sandbox of chat templates: jinja2 within a budget of steps, memory and depth."""
