"""Mapping templates mean here what they mean in API Gateway."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.mapping import Input, MappingError, Rendered, escape_java_script, render

# The idiom by which a JSON body becomes a string inside a JSON document.
IDIOM = """{"input": "$util.escapeJavaScript($input.json('$')).replaceAll("\\\\'","'")"}"""

NOWHERE: dict[str, dict[str, str]] = {"path": {}, "querystring": {}, "header": {}}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Any character, lone surrogates too: a body may hold their escapes.
    | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def rendered(template: str, body: str = "{}", **context: Any) -> Rendered:
    return render(template, given=Input(body, NOWHERE), context=context, stage_variables={"v": "1"})


@given(st.dictionaries(st.text(), json_values))
def test_any_body_reaches_the_service_unchanged(body: dict[str, Any]) -> None:
    """What the idiom wraps up is, unwrapped, the same JSON."""
    payload = rendered(IDIOM, json.dumps(body)).text
    assert json.loads(json.loads(payload)["input"]) == body


def test_escaping_is_that_of_ecma_script() -> None:
    """Quotes and slashes get a backslash, the rest of Unicode its UTF-16 units."""
    escaped = escape_java_script('it\'s "a" \\ / \n é \u2028 😀 \x7f')
    assert escaped == r"it\'s \"a\" \\ \/ \n \u00E9 \u2028 \uD83D\uDE00 " + "\x7f"


def test_a_template_can_choose_the_status() -> None:
    """An override of the status, or of a header, comes with the text."""
    answer = rendered(
        "#set($context.responseOverride.status = 404)"
        "#set($context.responseOverride.header.Location = 'x')gone"
    )
    assert (answer.text, answer.status, answer.headers) == ("gone", 404, {"Location": "x"})


def test_a_second_override_is_an_error() -> None:
    """API Gateway answers 5XX to a status that is overridden twice."""
    twice = "#set($context.responseOverride.status = 404)" * 2
    with pytest.raises(MappingError, match="twice"):
        rendered(twice)


def test_a_payload_that_is_not_json_is_an_error() -> None:
    """A template that looks into it cannot be rendered."""
    with pytest.raises(MappingError, match="not JSON"):
        rendered("$input.path('$.a')", "{nope")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$input.path('$.a.b[1]')", "two"),
        ("$input.path('$.missing.too')", ""),
        ("$input.json('$.a')", '{"b": ["one", "two"]}'),
        ("$input.params('x')", ""),
        ("$stageVariables.v", "1"),
        ("$context.stage", "live"),
        ("$util.urlEncode('a b')", "a+b"),
        ("$util.base64Encode('a')", "YQ=="),
        ("$util.parseJson('[7]')[0]", "7"),
    ],
)
def test_variables_give_what_the_guide_says(template: str, text: str) -> None:
    """One example of each variable that templates may use."""
    assert rendered(template, '{"a": {"b": ["one", "two"]}}', stage="live").text == text


def test_a_parameter_is_searched_in_path_query_and_header() -> None:
    """The path goes first; a header's case does not matter."""
    places = {"path": {"a": "path"}, "querystring": {"a": "query"}, "header": {"B": "header"}}
    known = Input("", places)
    assert (known.params("a"), known.params("b")) == ("path", "header")
