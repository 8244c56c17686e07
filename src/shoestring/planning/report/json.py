"""Render plans and comparisons as JSON, in a documented, versioned schema (docs/plan.md): bytes, tokens, dollars."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from shoestring.catalogue.age import age_days, outdated
from shoestring.planning.advice.printed import comparison_sentences, plan_sentences
from shoestring.planning.advice.sentences import Sentence
from shoestring.planning.advice.verdict import Verdict
from shoestring.planning.assess import Assessment
from shoestring.planning.compare import Comparison
from shoestring.planning.licence import NOT_ADVICE
from shoestring.planning.plan import Plan, find_row

SCHEMA_VERSION = 2


def plan_json(p: Plan) -> dict[str, Any]:
    """A plan as JSON, with every row that it cites."""
    data = {
        "schema": "shoestring.plan",
        "version": SCHEMA_VERSION,
        "hardware": _hardware(p),
        "question": _question(p),
        "models": [assessment_json(a) for a in p.assessments],
        "verdicts": [_verdict(v) for v in p.verdicts],
        "claims": claims_json(plan_sentences(p)),
        "notice": NOT_ADVICE,
    }
    return data | {"rows": _rows(p, data)}


def comparison_json(c: Comparison) -> dict[str, Any]:
    """A comparison as JSON, with every row that it cites."""
    data = {
        "schema": "shoestring.compare",
        "version": SCHEMA_VERSION,
        "hardware": _hardware(c.plan),
        "question": _question(c.plan),
        "models": [assessment_json(c.left), assessment_json(c.right)],
        "sections": [dataclasses.asdict(section) for section in c.sections],
        "choose": [[_sentence(s) for s in sentences] for sentences in (c.choose_left, c.choose_right)],
        "instead": None
        if c.instead is None
        else {**_sentence(c.instead.sentence), "model": assessment_json(c.instead.assessment)},
        "verdicts": [_verdict(v) for v in c.plan.verdicts],
        "article": [
            {
                "section": k.claim.section,
                "quote": k.claim.quote,
                "outcome": k.outcome,
                "text": k.text,
                "rows": list(k.sentence.rows),
            }
            for k in c.claims
        ],
        "claims": claims_json(comparison_sentences(c)),
        "notice": NOT_ADVICE,
    }
    return data | {"rows": _rows(c.plan, data)}


def assessment_json(a: Assessment) -> dict[str, Any]:
    n, p, s, cost = a.need, a.placement, a.speed, a.cost
    return {
        "id": a.candidate.id,
        "name": a.candidate.name,
        "parameters_total": a.candidate.total,
        "parameters_active": a.candidate.text.active,
        "type": n.sizes.type,
        "weights_bytes": dict(n.file.by_part),
        "weights_bytes_total": n.file.total,
        "download_bytes": n.download,
        "upload": n.upload.id if n.upload else None,
        "kv_bytes_per_token": n.kv_bytes_per_token,
        "kv_bytes_chunked_layers": n.chunked_kv_bytes,
        "state_bytes_per_sequence": n.state_bytes_per_sequence,
        "sequence_bytes": n.sequence_bytes,
        "needed_bytes": n.total_bytes,
        "context": n.context,
        "users": n.users,
        "fit": p.fit,
        "placement": {"gpu": p.gpu, "ram": p.ram, "disk": p.disk},
        "least_streaming_bytes": p.least or None,
        "streamed": _streamed(a),
        "gpu_layers": p.gpu_layers,
        "expert_layers_in_ram": p.expert_layers_in_ram,
        "missing_bytes": p.missing,
        "longest_context": a.longest_context,
        "most_users": a.most_users,
        "speed": {
            "label": s.label,
            "decode_tokens_per_second": s.decode,
            "throughput_tokens_per_second": s.throughput,
            "prefill_tokens_per_second": s.prefill,
            "first_token_seconds": s.first_token,
            "formula": list(s.formula),
        },
        "step": None
        if a.step is None
        else {
            "prompt_tokens": a.step.prompt,
            "answer_tokens": a.step.answer,
            "reading_seconds": a.step.reading,
            "writing_seconds": a.step.writing,
        },
        "cost": {
            "usd_per_hour": cost.usd_per_hour,
            "usd_per_month": cost.usd_per_month,
            "usd_per_million_tokens": cost.usd_per_million,
            "capacity_tokens_per_month": cost.capacity_tokens,
            "basis": cost.basis,
            "rents": [{"row": r.id, "provider": r.provider, "usd_per_hour": total} for r, total in cost.rents],
            "offers": [
                {
                    "provider": o.price.provider,
                    "row": o.price.id,
                    "input_usd": o.price.input_usd,
                    "output_usd": o.price.output_usd,
                    "usd_per_million_tokens": o.usd_per_million,
                    "mark": o.mark,
                    "break_even_tokens_per_month": o.break_even_tokens,
                    "break_even_share_of_time": o.break_even_share,
                }
                for o in cost.offers
            ],
        },
        "licence": None
        if a.terms is None
        else {
            "id": a.terms.licence.id,
            "usable": a.terms.usable,
            "reason": a.terms.reason,
            "findings": list(a.terms.findings),
            "rows": list(a.terms.rows),
        },
        "difficulty": {"level": a.difficulty, "reasons": list(a.difficulty_reasons)},
        "command": dataclasses.asdict(a.command),
        "problems": list(a.problems),
    }


def _streamed(a: Assessment) -> dict[str, Any] | None:
    """How our engine splits a model between memory and disk; None: all is in memory, or the system pages."""
    split, speed = a.placement.streamed, a.speed.streamed
    if split is None or speed is None:
        return None
    costs = speed.costs
    return {
        "budget_bytes": split.budget_bytes,
        "resident_weights_bytes": split.resident_bytes,
        "context_bytes": split.state_bytes,
        "workspace_bytes": split.workspace_bytes,
        "slots": split.slots,
        "slot_bytes": split.streaming.slots.arena_bytes,
        "experts_in_memory": split.share,
        "pass_rows": split.streaming.pass_rows,
        "hit_rate": speed.hit_rate,
        "hit_rate_source": speed.source,
        "hit_rate_recorded": speed.recorded,
        "rest_seconds": costs.rest_seconds,
        "expert_seconds": costs.expert_seconds,
        "missed_bytes": costs.missed_bytes,
        "disk_bytes_per_second": costs.disk_rate,
        "disk_basis": speed.disk.basis,
        "bound": costs.bound,
        "rows": list(speed.disk.rows),
    }


def _hardware(p: Plan) -> dict[str, Any]:
    m = p.machine
    return {
        "name": m.name,
        "gpu": m.gpu.id if m.gpu else None,
        "gpus": m.gpus,
        "gpu_memory_bytes": m.gpus * m.gpu.memory_bytes if m.gpu else 0,
        "ram_bytes": m.ram_bytes,
        "ram_bandwidth": m.ram_bandwidth,
        "cores": m.cores,
        "disk_bandwidth": m.disk_bandwidth or None,
        "notes": list(m.notes),
    }


def _question(p: Plan) -> dict[str, Any]:
    q = p.question
    return {
        "use": q.use,
        "context": q.context,
        "users": q.users,
        "type": q.type,
        "kv_type": q.kv_type,
        "min_speed": q.min_speed,
        **dataclasses.asdict(q.user),
        "money": dataclasses.asdict(q.money),
    }


def _verdict(v: Verdict) -> dict[str, Any]:
    return {
        "use": v.use.id,
        "line": v.line.text,
        "benchmarks": list(v.use.benchmarks),
        "ranking": [
            {
                "model": r.assessment.candidate.id,
                "group": r.group,
                "measure": r.measure,
                "rank": r.place.rank if r.place else None,
                "rank_shared_with": list(r.place.shared_with) if r.place else [],
                "reasons": [_sentence(s) for s in r.sentences],
            }
            for r in v.ranking
        ],
    }


def _sentence(s: Sentence) -> dict[str, Any]:
    return {"text": s.text, "rows": list(s.rows)}


def claims_json(sentences: Sequence[Sentence]) -> list[dict[str, Any]]:
    """Every sentence of the report with what it states: a record for each model and subject."""
    return [{**_sentence(s), "findings": [dataclasses.asdict(f) for f in s.findings]} for s in dict.fromkeys(sentences)]


def _rows(p: Plan, data: Any) -> dict[str, Any]:
    """All rows cited anywhere in `data`, with source, date, kind and age."""
    cited: set[str] = set()

    def collect(value: Any, key: str = "") -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                collect(inner, name)
        elif isinstance(value, list | tuple):
            for inner in value:
                collect(inner, key)
        elif isinstance(value, str) and key in ("rows", "row"):
            cited.add(value)

    collect(data)
    rows = {}
    for id in sorted(cited):
        row = find_row(p.catalogue, id)
        if row is None:
            continue
        source = p.catalogue.sources[row.source]
        rows[id] = {
            **dataclasses.asdict(row),
            "source": {"id": source.id, "title": source.title, "url": source.url},
            "age_days": age_days(row.date),
            "old": outdated(row, p.catalogue),
        }
    return rows
