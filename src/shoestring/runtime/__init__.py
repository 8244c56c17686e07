"""A loaded model and its Python API: `load` is in loading.py, `Model` in model.py; `shoestring` exports both."""
