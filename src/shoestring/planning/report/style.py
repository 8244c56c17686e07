"""The style sheet of a report: light and dark, fit for phones, and for paper."""

from __future__ import annotations

_SHEET = """
:root{color-scheme:light dark;--ink:#1d2330;--dim:#5a6474;--page:#fbfbf9;--card:#fff;--rule:#dfe3e8;--link:#1f5fbf;
--good:#1a7f4b;--bad:#b3342c}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#9aa5b5;--page:#14171d;--card:#1c2129;--rule:#333b47;
--link:#7db0ff;--good:#5ccf91;--bad:#ff8d85}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:66rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--rule);padding-bottom:.2rem}
h3{font-size:1rem;margin:1rem 0 .3rem}
p,li{margin:.3rem 0}ul,ol{padding-left:1.3rem;margin:.3rem 0}
.dim{color:var(--dim);font-size:.88rem}a{color:var(--link)}
.advice p{font-size:1.2rem;line-height:1.4;margin:.5rem 0}
.first h2{margin-top:1.2rem;border:0}
nav{margin:1.5rem 0}nav a{margin-right:1rem;white-space:nowrap}
.cards{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr))}
.card{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.8rem;min-width:0}
.card h3{margin:0 0 .4rem}
.beside{display:grid;gap:1rem;grid-template-columns:minmax(0,1fr)}
@media(min-width:60rem){.beside{grid-template-columns:minmax(0,2fr) minmax(0,3fr)}
.half{display:inline-block;width:48%;vertical-align:top;margin-right:1.5%}}
figure{margin:0;min-width:0}
summary{color:var(--link);cursor:pointer;font-size:.88rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;min-width:30rem;font-size:.92rem;overflow-wrap:normal}
th,td{text-align:right;padding:.28rem .5rem;border-bottom:1px solid var(--rule);vertical-align:top}
th{font-weight:600}
th:first-child,td:first-child{text-align:left}
td:first-child{min-width:8rem}
tr.dim td{color:var(--dim)}
td.note{color:var(--dim);font-size:.82rem;text-align:left}
.num{white-space:nowrap}
.sources{font-size:.82rem;padding-left:1rem}.sources span{color:var(--dim)}
.csv{font-size:.82rem;text-align:right}
pre{background:var(--page);border:1px solid var(--rule);border-radius:.4rem;padding:.6rem;white-space:pre-wrap}
sup{line-height:0}sup a{text-decoration:none;margin-left:.15rem}
.holds::marker{color:var(--good)}.differs{color:var(--bad)}
svg{display:block;width:100%;max-width:40rem;height:auto;overflow:visible}
svg .name{font-size:11px;fill:var(--ink)}svg .tick{font-size:10px;fill:var(--dim)}
svg .letter{font-size:12px;font-weight:700;paint-order:stroke;stroke:var(--page);stroke-width:3px}
svg .end{font-size:11px;fill:var(--dim);text-anchor:end}
svg .grid{stroke:var(--rule)}svg .limit{stroke:var(--bad);stroke-width:2}
svg .line{fill:none;stroke-width:2}svg .lead{stroke:var(--dim);stroke-width:.7;fill:none}
svg .own{fill:var(--ink)}svg .line.own{fill:none;stroke:var(--ink)}
.entry{white-space:nowrap}.key{display:inline-block;width:.8em;height:.8em;border-radius:.15em;margin:0 .3em 0 .8em}
@page{size:A4;margin:12mm 11mm}
@media print{
:root{color-scheme:light;--ink:#000;--dim:#444;--page:#fff;--card:#fff;--rule:#bbb;--link:#000;--good:#000;--bad:#000}
html{font-size:8.5pt}
body{font-size:8.5pt;line-height:1.3;print-color-adjust:exact;-webkit-print-color-adjust:exact}
main{max-width:none;padding:0}
nav,.csv,details{display:none}
a{text-decoration:none}
h1{font-size:15pt}h2{font-size:10.5pt;margin:.7rem 0 .2rem;break-after:avoid}h3{break-after:avoid;font-size:9pt}
.advice p{font-size:11pt}
tr,li,figure,pre{break-inside:avoid}
.scroll{overflow:visible}
table{min-width:0;font-size:7.3pt}th,td{padding:.08rem .3rem}td.note{font-size:6.8pt;min-width:5.8rem}
.half{display:inline-block;width:48%;vertical-align:top;margin-right:1.5%;break-inside:avoid}
.beside{grid-template-columns:2fr 3fr}
.long{columns:2;column-gap:1.5rem;font-size:7.3pt;line-height:1.25}
.long h3{margin:.4rem 0 .1rem}.long li{margin:.1rem 0}
.cards{grid-template-columns:1fr 1fr}.card{padding:.4rem;font-size:7.5pt}
.sources{font-size:6.8pt;line-height:1.25}
}
"""
#: colours of parts and of models, distinct in both modes
_PARTS = ("#7c8aa5", "#4477aa", "#66ccee", "#228833", "#aa3377", "#dd7733", "#999933", "#bbbbbb", "#ccbb44",
          "#555555", "#ee6677", "#8c6bb1")  # fmt: skip
_MODELS = ("#3b7dd8", "#e08a1e", "#2aa876", "#c2487f", "#8a63d2", "#8f8f3c")


def style() -> str:
    """The whole style sheet."""
    colours = "".join(f".p{i}{{fill:{c};background:{c}}}" for i, c in enumerate(_PARTS))
    models = "".join(f"svg .m{i}{{fill:{c}}}svg .line.m{i}{{fill:none;stroke:{c}}}" for i, c in enumerate(_MODELS))
    return _SHEET + colours + models
