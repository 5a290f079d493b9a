"""template.yaml with SignIn=cognito: who may sign in, how, and what that lets them do."""

import json
from typing import Any

import pytest

from consumer.settings import Settings
from consumer.sign_in import sign_in
from infra.local.intrinsics import Surroundings
from tests.template.synthesis import ACCOUNT, REGION, Deployed, deploy
from tests.template.test_permissions import every_statement, pairs

ORIGIN = "https://status.example.com"
COGNITO = {
    "SignIn": "cognito",
    "SignInDomainPrefix": "statuswire-example",
    "DashboardOrigin": ORIGIN,
}
INVOKE = "execute-api:Invoke"
WATCHING = {"POST/watch-tokens", "GET/executions/*"}
STARTING = {"POST/express-instance", "POST/standard-instance"}


@pytest.fixture(scope="module")
def with_people(synthesized: dict[str, Any]) -> Deployed:
    return deploy(synthesized, **COGNITO)


def one(deployed: Deployed, kind: str) -> dict[str, Any]:
    (found,) = deployed.of_type(f"AWS::Cognito::{kind}").values()
    return dict(found)


def test_without_the_parameter_there_is_nobody(deployed: Deployed) -> None:
    """No pool, no role, no output."""
    assert not [r for r in deployed.resources.values() if "Cognito" in r["Type"]]
    assert "cognito" not in json.dumps(deployed.outputs)


def test_whatever_is_chosen_the_api_asks_for_a_signature(
    synthesized: dict[str, Any], deployed: Deployed, with_people: Deployed
) -> None:
    """Terminals and CI call it as ever: the very same API is deployed."""
    (api,) = with_people.of_type("AWS::ApiGateway::RestApi").values()
    (before,) = (
        deploy(synthesized, DashboardOrigin=ORIGIN).of_type("AWS::ApiGateway::RestApi").values()
    )
    assert api == before
    methods = [
        m for path in api["Body"]["paths"].values() for n, m in path.items() if n != "options"
    ]
    assert len(methods) == 4
    assert all(method["security"] == [{"sigv4": []}] for method in methods)


def test_only_an_administrator_makes_an_account(with_people: Deployed) -> None:
    """Whoever finds the page must not be able to let themselves in."""
    pool = one(with_people, "UserPool")
    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert one(with_people, "IdentityPool")["AllowUnauthenticatedIdentities"] is False


def test_the_accounts_outlive_the_stack(with_people: Deployed) -> None:
    """Nothing can make them again; deleting the pool by hand wants two steps."""
    pools = [r for r in with_people.resources.values() if r["Type"] == "AWS::Cognito::UserPool"]
    (pool,) = pools
    assert (pool["DeletionPolicy"], pool["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert pool["Properties"]["DeletionProtection"] == "ACTIVE"


def test_passwords_are_long_and_a_second_factor_is_asked_for(
    synthesized: dict[str, Any], with_people: Deployed
) -> None:
    """It can be switched off, but not left to choice: the pages could not ask for it."""
    pool = one(with_people, "UserPool")
    policy = pool["Policies"]["PasswordPolicy"]
    assert policy["MinimumLength"] >= 14
    assert {n: v for n, v in policy.items() if n.startswith("Require")} == {
        f"Require{what}": True for what in ("Lowercase", "Uppercase", "Numbers", "Symbols")
    }
    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("ON", ["SOFTWARE_TOKEN_MFA"])
    without = one(deploy(synthesized, **COGNITO, SignInMfa="off"), "UserPool")
    assert without["MfaConfiguration"] == "OFF"
    assert "EnabledMfas" not in without


def test_the_page_is_a_public_client_of_the_code_flow(with_people: Deployed) -> None:
    """No secret that a page could not keep, no implicit flow, no password through an API."""
    client = one(with_people, "UserPoolClient")
    assert client["GenerateSecret"] is False
    assert client["AllowedOAuthFlows"] == ["code"]
    assert client["AllowedOAuthScopes"] == ["openid", "email"]
    assert client["ExplicitAuthFlows"] == ["ALLOW_USER_SRP_AUTH"]
    assert client["PreventUserExistenceErrors"] == "ENABLED"


def test_people_come_back_to_the_dashboard_and_nowhere_else(with_people: Deployed) -> None:
    """Cognito compares whole addresses; a code that goes elsewhere is a session given away."""
    client = one(with_people, "UserPoolClient")
    assert client["CallbackURLs"] == [f"{ORIGIN}/signed-in"]
    assert client["LogoutURLs"] == [f"{ORIGIN}/"]


def test_tokens_are_short_and_can_be_taken_back(with_people: Deployed) -> None:
    """A refresh token is good once, and for a day's work."""
    client = one(with_people, "UserPoolClient")
    units = {"IdToken": "minutes", "AccessToken": "minutes", "RefreshToken": "hours"}
    assert client["TokenValidityUnits"] == units
    assert (client["IdTokenValidity"], client["AccessTokenValidity"]) == (5, 5)
    assert client["RefreshTokenValidity"] <= 12
    assert client["EnableTokenRevocation"] is True
    assert client["RefreshTokenRotation"]["Feature"] == "ENABLED"


def test_credentials_are_for_our_pools_people_who_are_still_signed_in(
    with_people: Deployed,
) -> None:
    """Of one client of one pool, in the flow in which a page cannot choose its role."""
    identities = one(with_people, "IdentityPool")
    assert identities["AllowClassicFlow"] is False
    pool, client = with_people.names["UserPool"], with_people.names["UserPoolClient"]
    assert identities["CognitoIdentityProviders"] == [
        {
            "ProviderName": f"cognito-idp.{REGION}.amazonaws.com/{pool}",
            "ClientId": client,
            "ServerSideTokenCheck": True,
        }
    ]


def test_a_role_comes_from_a_group_alone(with_people: Deployed) -> None:
    """Who is in none gets nothing, and of two groups operators decides."""
    attached = one(with_people, "IdentityPoolRoleAttachment")
    pool, client = with_people.names["UserPool"], with_people.names["UserPoolClient"]
    (mapping,) = attached["RoleMappings"].values()
    assert attached["Roles"] == {}
    assert mapping == {
        "IdentityProvider": f"cognito-idp.{REGION}.amazonaws.com/{pool}:{client}",
        "Type": "Token",
        "AmbiguousRoleResolution": "Deny",
    }
    groups = with_people.of_type("AWS::Cognito::UserPoolGroup").values()
    assert {g["GroupName"]: (g["Precedence"], g["RoleArn"]) for g in groups} == {
        "operators": (1, with_people.arn("OperatorRole")),
        "watchers": (2, with_people.arn("WatcherRole")),
    }


@pytest.mark.parametrize(
    ("role", "routes"), [("WatcherRole", WATCHING), ("OperatorRole", WATCHING | STARTING)]
)
def test_a_group_may_call_exactly_these_routes(
    with_people: Deployed, role: str, routes: set[str]
) -> None:
    """And nothing else of AWS."""
    stage = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{with_people.outputs['RestApiId']}/live"
    assert pairs(list(with_people.grants(role))) == {(INVOKE, f"{stage}/{r}") for r in routes}


@pytest.mark.parametrize("role", ["WatcherRole", "OperatorRole"])
def test_a_groups_role_is_for_our_identity_pool(with_people: Deployed, role: str) -> None:
    """Any identity pool of any account is the same federation: without `aud` all could have it.
    And for those who have signed in, whoever else a pool may let in one day.
    """
    (statement,) = with_people.properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Federated": "cognito-identity.amazonaws.com"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                "cognito-identity.amazonaws.com:aud": with_people.names["IdentityPool"]
            },
            "ForAnyValue:StringEquals": {"cognito-identity.amazonaws.com:amr": "authenticated"},
        },
    }


def test_no_action_of_a_person_is_by_pattern(with_people: Deployed) -> None:
    """As for all other roles: tests/template/test_permissions.py."""
    for statement in every_statement(with_people):
        assert "*" not in json.dumps(statement["Action"])


def test_the_consumer_takes_the_address(with_people: Deployed) -> None:
    """As the output has it, with the API's beside it."""
    address = with_people.outputs["SignInAddress"]
    names = with_people.names
    settings = Settings(
        queue_url=with_people.outputs["StatusQueueUrl"],
        service_queue_url=with_people.outputs["ServiceQueueUrl"],
        rest_url=with_people.outputs["RestApiUrl"],
        sign_in=address,
    )
    assert settings.cognito == sign_in(address)
    assert settings.cognito.url == f"https://statuswire-example.auth.{REGION}.amazoncognito.com"
    assert settings.cognito.region == REGION
    assert settings.cognito.user_pool == names["UserPool"] == with_people.outputs["UserPoolId"]
    assert settings.cognito.client_id == names["UserPoolClient"]
    assert settings.cognito.identity_pool == names["IdentityPool"]


def test_the_log_tells_people_apart(with_people: Deployed) -> None:
    """Those of a group are one ARN; Cognito's provider names the person."""
    line = with_people.properties("RestApiStage")["AccessLogSetting"]["Format"]
    assert json.loads(line)["person"] == "$context.identity.cognitoAuthenticationProvider"


@pytest.mark.parametrize(
    ("parameters", "is_good"),
    [
        (COGNITO, True),
        (COGNITO | {"SignInDomainPrefix": "none"}, False),
        (COGNITO | {"DashboardOrigin": "https://dashboard.invalid"}, False),
    ],
)
def test_what_cognito_needs_is_asked_before_anything_is_made(
    template: dict[str, Any], parameters: dict[str, str], is_good: bool
) -> None:
    """A rule says which parameter is missing."""
    rule = template["Rules"]["CognitoNeedsAddresses"]
    conditions = {str(n): a["Assert"] for n, a in enumerate(rule["Assertions"])}
    near = Surroundings(parameters, {}, conditions | {"when": rule["RuleCondition"]}, {})
    assert near.holds("when")
    assert all(near.holds(each) for each in conditions) == is_good
