"""For tests of programs that use Shoestring: a model with scripted answers, without weights.

model = scripted_model({"What is 6 × 7?": Reply("42", thinking="six sevens")})
"""

from shoestring.runtime.scripted.model import Asked as Asked
from shoestring.runtime.scripted.model import CallSyntax as CallSyntax
from shoestring.runtime.scripted.model import Family as Family
from shoestring.runtime.scripted.model import Reply as Reply
from shoestring.runtime.scripted.model import Rule as Rule
from shoestring.runtime.scripted.model import echo as echo
from shoestring.runtime.scripted.model import scripted_model as scripted_model
from shoestring.runtime.scripted.model import scripted_tokenizer as scripted_tokenizer

__all__ = ["Asked", "CallSyntax", "Family", "Reply", "Rule", "echo", "scripted_model", "scripted_tokenizer"]
