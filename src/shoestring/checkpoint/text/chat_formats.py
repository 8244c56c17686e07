"""The families' documented chat formats, for checkpoints without a template.

They are Jinja templates too, so one path renders both kinds and marks user text in both.
"""


def _text(picture: str, video: str) -> str:
    """A macro that writes a content: texts, and placeholders for pictures and videos."""
    return r"""
{%- macro text(content) -%}
    {%- if content is string %}{{ content }}
    {%- elif content is iterable %}{% for part in content -%}
        {%- if part.type == 'image' %}PICTURE{% elif part.type == 'video' %}VIDEO{% else %}{{ part.text }}{% endif -%}
    {%- endfor %}
    {%- endif %}
{%- endmacro -%}
""".replace("PICTURE", picture).replace("VIDEO", video)


QWEN3_5 = (
    _text("<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>")
    + r"""
{%- set first = text(messages[0].content) | trim if messages and messages[0].role == 'system' else '' -%}
{%- if first and messages[0].content is not string -%}
    {%- for part in messages[0].content if part.type in ('image', 'video') -%}
        {{- raise_exception('a system message shows no pictures') }}
    {%- endfor -%}
{%- endif -%}
{%- if tools -%}
    {{- '<|im_start|>system\n# Tools\n\nThese functions can be called:\n\n<tools>' }}
    {%- for tool in tools %}{{ '\n' ~ (tool | tojson) }}{% endfor %}
    {{- '\n</tools>\n\nA call is written as:\n\n<tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n'
        ~ '</function>\n</tool_call>\n\nRequired parameters must be given. Nothing follows a call.' }}
    {{- ('\n\n' ~ first if first else '') ~ '<|im_end|>\n' }}
{%- elif first -%}
    {{- '<|im_start|>system\n' ~ first ~ '<|im_end|>\n' }}
{%- endif -%}
{%- set last = namespace(query=-1) -%}
{%- for message in messages %}{% if message.role == 'user' %}{% set last.query = loop.index0 %}{% endif %}{% endfor -%}
{%- if last.query < 0 %}{{ raise_exception('there is no user message') }}{% endif -%}
{%- for message in messages -%}
    {%- set content = text(message.content) | trim -%}
    {%- if message.role == 'system' -%}
        {%- if not loop.first %}{{ raise_exception('a system message must come first') }}{% endif -%}
    {%- elif message.role == 'user' -%}
        {{- '<|im_start|>user\n' ~ content ~ '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' -%}
        {%- set thought = message.reasoning_content if message.reasoning_content is string else '' -%}
        {%- if not thought and '</think>' in content -%}
            {%- set thought = content.split('</think>')[0].split('<think>')[-1] -%}
            {%- set content = content.split('</think>')[-1].lstrip('\n') -%}
        {%- endif -%}
        {{- '<|im_start|>assistant\n' }}
        {%- if loop.index0 > last.query %}{{ '<think>\n' ~ (thought | trim) ~ '\n</think>\n\n' }}{% endif -%}
        {{- content }}
        {%- for call in message.tool_calls or [] -%}
            {%- set call = call.function or call -%}
            {{- ('\n\n' if loop.first and content else '\n' if not loop.first else '')
                ~ '<tool_call>\n<function=' ~ call.name ~ '>\n' }}
            {%- for key, value in (call.arguments or {}) | items -%}
                {{- '<parameter=' ~ key ~ '>\n' ~ (value if value is string else value | tojson) ~ '\n</parameter>\n' }}
            {%- endfor -%}
            {{- '</function>\n</tool_call>' }}
        {%- endfor -%}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' -%}
        {%- if loop.first or loop.previtem.role != 'tool' %}{{ '<|im_start|>user' }}{% endif -%}
        {{- '\n<tool_response>\n' ~ content ~ '\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>\n' }}{% endif -%}
    {%- else -%}
        {{- raise_exception('role ' ~ message.role ~ ' is not known to this format') }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\n' ~ ('<think>\n\n</think>\n\n' if enable_thinking is false else '<think>\n') }}
{%- endif -%}
"""
)

LLAMA4 = (
    _text("<|image|>", "{{ raise_exception('this model reads no video') }}")
    + r"""
{%- macro turn(role, content) -%}
    {{- '<|header_start|>' ~ role ~ '<|header_end|>\n\n' ~ content ~ '<|eot|>' }}
{%- endmacro -%}
{{- bos_token }}
{%- set system = text(messages[0].content) | trim if messages and messages[0].role == 'system' else '' -%}
{%- if tools -%}
    {%- set listing = namespace(text='These functions can be called. A call is one JSON object, '
        ~ '{"name": function, "parameters": {name: value}}, and nothing else.') -%}
    {%- for tool in tools %}{% set listing.text = listing.text ~ '\n\n' ~ (tool | tojson(indent=4)) %}{% endfor -%}
    {{- turn('system', (system ~ '\n\n' if system else '') ~ listing.text) }}
{%- elif system -%}
    {{- turn('system', system) }}
{%- endif -%}
{%- for message in messages -%}
    {%- set content = text(message.content) | trim -%}
    {%- if message.role == 'system' -%}
        {%- if not loop.first %}{{ turn('system', content) }}{% endif -%}
    {%- elif message.role in ('tool', 'ipython') -%}
        {{- turn('ipython', content) }}
    {%- elif message.role == 'assistant' and message.tool_calls -%}
        {{- '<|header_start|>assistant<|header_end|>\n\n<|python_start|>' ~ content }}
        {%- for call in message.tool_calls -%}
            {%- set call = call.function or call -%}
            {{- {'name': call.name, 'parameters': call.arguments or {}} | tojson }}
        {%- endfor -%}
        {{- '<|python_end|><|eom|>' }}
    {%- elif message.role in ('user', 'assistant') -%}
        {{- turn(message.role, content) }}
    {%- else -%}
        {{- raise_exception('role ' ~ message.role ~ ' is not known to this format') }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|header_start|>assistant<|header_end|>\n\n' }}{% endif -%}
"""
)

#: By `Config.family`
FORMATS = {"qwen3_5": QWEN3_5, "llama4": LLAMA4}
