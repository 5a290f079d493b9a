"""The API's body is resolved as CloudFormation would have."""

from typing import Any

import pytest

from infra.local.intrinsics import Resource, Surroundings, UnresolvedError

NEAR = Surroundings(
    parameters={"Stage": "live", "Origin": ""},
    resources={
        "Queue": Resource("AWS::SQS::Queue", "http://127.0.0.1:1/000000000000/q.fifo"),
        "Function": Resource("AWS::Lambda::Function", "stack-fn"),
        "Odd": Resource("AWS::Odd::Thing", "odd"),
    },
    conditions={"HasOrigin": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Origin"}, ""]}]}},
    pseudo={"AWS::Region": "us-east-1", "AWS::Partition": "aws", "AWS::AccountId": "0"},
)


@pytest.mark.parametrize(
    ("node", "value"),
    [
        ({"Ref": "Stage"}, "live"),
        ({"Ref": "Queue"}, "http://127.0.0.1:1/000000000000/q.fifo"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:aws:sqs:us-east-1:0:q.fifo"),
        ({"Fn::GetAtt": "Function.Arn"}, "arn:aws:lambda:us-east-1:0:function:stack-fn"),
        (
            {"Fn::Sub": "${AWS::Region}/${Function.Arn}"},
            "us-east-1/arn:aws:lambda:us-east-1:0:function:stack-fn",
        ),
        ({"Fn::Sub": ["${A}-${!B}-$C", {"A": {"Ref": "Stage"}}]}, "live-${B}-$C"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Stage"}]]}, "a-live"),
        ({"Fn::If": ["HasOrigin", "yes", "no"]}, "no"),
        ({"a": {"Fn::If": ["HasOrigin", 1, {"Ref": "AWS::NoValue"}]}, "b": [1]}, {"b": [1]}),
        ({"Fn::Select": [1, {"Fn::Split": ["/", {"Fn::Sub": "a/${Stage}"}]}]}, "live"),
        ({"Fn::Base64": {"Ref": "Stage"}}, "bGl2ZQ=="),
        ("$input.path('${x}')", "$input.path('${x}')"),
    ],
)
def test_an_intrinsic_becomes_its_value(node: Any, value: Any) -> None:
    """One example of each function."""
    assert NEAR.resolve(node) == value


@pytest.mark.parametrize(
    "node",
    [
        {"Fn::ImportValue": "x"},
        {"Ref": "Nothing"},
        {"Fn::GetAtt": ["Odd", "Arn"]},
        {"Fn::If": ["NoSuchCondition", 1, 2]},
    ],
)
def test_what_is_not_known_is_not_guessed(node: Any) -> None:
    """Serving something else than what was deployed would prove nothing."""
    with pytest.raises(UnresolvedError):
        NEAR.resolve({"deep": [node]})
