"""Every sentence that a report may print, in the order of the report."""

from __future__ import annotations

from shoestring.planning.advice.details import asked, assumptions, details, essentials, footer
from shoestring.planning.advice.recommend import recommend
from shoestring.planning.advice.sentences import Sentence
from shoestring.planning.advice.summary import left_out, short_choice, top
from shoestring.planning.advice.tokens import tokens_sentence
from shoestring.planning.compare import Comparison
from shoestring.planning.plan import Plan, leading


def plan_sentences(p: Plan) -> list[Sentence]:
    best, advice = leading(p), recommend(p)
    shown = [a for a in p.assessments if a.runs or a is best]
    found = [asked(p), *advice.sentences, *advice.changes, *(s for _, s in top(p)), *(v.line for v in p.verdicts)]
    found += [s for s in (left_out(p),) if s is not None]
    if len(p.assessments) == 1:
        found += essentials(p, p.assessments[0])
    found += [s for v in p.verdicts for r in v.ranking for s in r.sentences]
    found += [s for a in shown for s in details(p, a)]
    return [*found, assumptions(p), *footer(p)]


def comparison_sentences(c: Comparison) -> list[Sentence]:
    p = c.plan
    advice = recommend(p, c.instead)
    found = [asked(p), *advice.sentences, *advice.changes, *short_choice(p, c.left, c.right)]
    found += short_choice(p, c.right, c.left)
    found += [*c.choose_left, *c.choose_right]
    found += [s for s in (tokens_sentence(c.left, c.right, p.catalogue),) if s is not None]
    if c.instead is not None:
        found += [c.instead.sentence, *details(p, c.instead.assessment)]
    found += [k.sentence for k in c.claims]
    found += [s for v in p.verdicts for s in (v.line, *(s for r in v.ranking for s in r.sentences))]
    found += [s for a in (c.left, c.right) for s in details(p, a)]
    return [*found, assumptions(p), *footer(p)]
