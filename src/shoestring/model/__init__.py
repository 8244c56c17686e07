"""A loaded model and its Python API. `load` stands in loading.py, `Model` in model.py; `shoestring` exports both."""
