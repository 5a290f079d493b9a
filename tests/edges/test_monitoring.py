"""Dashboard, alert rules and their documentation, against what a running consumer exports."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

import consumer
from consumer.operator import emf
from tests.edges.test_metrics import Traffic, traffic

__all__ = ["traffic"]

ROOT: Final = Path(__file__).parents[2]
DASHBOARD: Final = json.loads((ROOT / "infra/monitoring/grafana-dashboard.json").read_text())
RULES: Final = yaml.safe_load((ROOT / "infra/monitoring/alerts.yaml").read_text())
DOCUMENT: Final = (ROOT / "docs/metrics.md").read_text()
PROMETHEUS_OWN: Final = frozenset({"instance", "job"})  # it labels all that it scrapes
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS: Final = [target for panel in PANELS for target in panel["targets"]]
ALERTS: Final = [rule for group in RULES["groups"] for rule in group["rules"]]


class Exported:
    """Every sample's name, its labels, and the values that they have."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.labels: dict[str, dict[str, set[str]]] = {}
        self.families: dict[str, tuple[str, frozenset[str]]] = {}
        for family in registry.collect():
            labels: set[str] = set()
            for sample in family.samples:
                of = self.labels.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    of.setdefault(label, set()).add(value)
                labels |= sample.labels.keys() - {"le"}
            self.families[family.name] = (family.type, frozenset(labels))

    def problems(self, expression: str) -> Iterator[str]:
        """What an expression asks for that nobody exports."""
        tree = promql_parser.parse(expression)
        known = set(PROMETHEUS_OWN)
        for selector in selectors(tree):
            if selector.name not in self.labels:
                yield f"no metric {selector.name}"
                continue
            labels = self.labels[selector.name]
            known |= labels.keys()
            for matcher in selector.matchers.matchers:
                for value in matcher.value.split("|"):
                    if value not in labels.get(matcher.name, ()):
                        yield f"{selector.name} has no {matcher.name}={value}"
        yield from (f"no label {label}" for label in grouped_by(tree) if label not in known)


def nodes(tree: Any) -> Iterator[Any]:
    yield tree
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        if (part := getattr(tree, name, None)) is not None:
            yield from nodes(part)
    for argument in getattr(tree, "args", None) or ():
        yield from nodes(argument)


def selectors(tree: Any) -> Iterator[promql_parser.VectorSelector]:
    return (node for node in nodes(tree) if isinstance(node, promql_parser.VectorSelector))


def grouped_by(tree: Any) -> Iterator[str]:
    for node in nodes(tree):
        modifier = getattr(node, "modifier", None)
        matching = getattr(modifier, "matching", modifier)
        yield from getattr(matching, "labels", None) or ()


def of_target(target: dict[str, Any]) -> str:
    return str(target["expr"]).replace("$__rate_interval", "5m")


@pytest.fixture
def exported(traffic: Traffic) -> Exported:
    return Exported(traffic.registry)


@pytest.mark.parametrize(
    "wrong",
    [
        "statuswire_cliens",
        "sum(rate(statuswire_poll_errors_total{kind='credential'}[5m]))",
        "statuswire_ready{queue='status'}",
        "sum by (queues) (statuswire_polls)",
        "statuswire_ready / on (host) statuswire_clients",
        "histogram_quantile(0.9, statuswire_log_append_seconds)",
    ],
)
def test_an_expression_that_asks_for_what_is_not_there_is_found(
    exported: Exported, wrong: str
) -> None:
    """A misspelt name would be a panel that is empty for ever, or an alert that never fires."""
    assert len(list(exported.problems(wrong))) == 1


def test_panels_ask_for_what_is_exported(exported: Exported) -> None:
    """Metrics, labels, and the values of labels."""
    assert len(TARGETS) > 30
    problems = [(t["expr"], each) for t in TARGETS for each in exported.problems(of_target(t))]
    assert problems == []


def test_legends_name_labels_that_their_series_have(exported: Exported) -> None:
    """Another would be shown as nothing."""
    for target in TARGETS:
        tree = promql_parser.parse(of_target(target))
        kept = {*PROMETHEUS_OWN, *grouped_by(tree)}
        if not list(grouped_by(tree)) or "build_info" in target["expr"]:
            kept |= {label for s in selectors(tree) for label in exported.labels[str(s.name)]}
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, target


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """One data source, chosen by whoever imports it; panels with ids of their own, side by side."""
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    mine = {"type": "prometheus", "uid": "${datasource}"}
    assert all(each["datasource"] == mine for each in [*PANELS, *TARGETS])
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_what_is_exported_and_says_what_to_do(
    exported: Exported, rule: dict[str, Any]
) -> None:
    """And its texts name labels that it has."""
    assert list(exported.problems(rule["expr"])) == []
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    tree = promql_parser.parse(rule["expr"])
    kept = {*PROMETHEUS_OWN, *grouped_by(tree)} if "by (" in rule["expr"] else PROMETHEUS_OWN
    named = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))
    assert set(named) <= kept


def test_alerts_have_names_of_their_own() -> None:
    """Two of a name would be one to whoever silences it."""
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)
    assert set(re.findall(r"\bStatuswire[A-Z]\w+", DOCUMENT)) <= set(names)


def test_every_metric_is_documented_as_it_is(exported: Exported) -> None:
    """Name, type and labels; and nothing is documented that is not there."""
    told = {
        row[0].strip("`"): (row[1], frozenset(re.findall(r"`(\w+)`", row[2]))) for row in metrics()
    }
    assert told == {
        name.removeprefix("statuswire_"): family for name, family in exported.families.items()
    }


def test_every_metric_is_on_the_dashboard_or_said_not_to_be(exported: Exported) -> None:
    """What nobody looks at need not be measured."""
    asked = {str(s.name) for t in TARGETS for s in selectors(promql_parser.parse(of_target(t)))}
    bare = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in asked}
    for name, *_, shown in metrics():
        plain = name.strip("`")
        assert ({plain, f"statuswire_{plain}"}.isdisjoint(bare)) == (shown == "no"), name


def metrics() -> Iterator[list[str]]:
    """The rows of the table of metrics."""
    table = DOCUMENT.split("## What is exported")[1].split("\n## ")[0]
    for line in table.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_every_log_message_that_warns_is_documented() -> None:
    """The operator finds there what to do about it; and nothing there is never said."""
    told = {cells[0] for cells in table_of("## Logs")}
    package = Path(consumer.__file__).parent
    files = set(package.rglob("*.py")) - set((package / "client").rglob("*.py"))  # no operator's
    said = {one for file in files for one in warnings(file)}
    assert told == said


def table_of(heading: str) -> Iterator[list[str]]:
    rows = [line for line in DOCUMENT.split(heading)[1].splitlines() if line.startswith("|")]
    for line in rows[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def warnings(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and re.fullmatch(
            r"log\.(warning|error|exception)", ast.unparse(node.func)
        ):
            assert isinstance(node.args[0], ast.Constant), "no values in a message"
            yield str(node.args[0].value)


def test_cloudwatch_is_told_of_what_is_exported(traffic: Traffic) -> None:
    """Under its own names; a metric that was renamed would be missing there, and unnoticed."""
    found = emf.values(generate_latest(traffic.registry).decode())
    assert found.keys() == emf.UNITS.keys()


def test_cloudwatchs_metrics_are_documented() -> None:
    """Each with what it is of."""
    table = dict(re.findall(r"^\| `([A-Z]\w+)` \| `(\w+)`", DOCUMENT, re.MULTILINE))
    assert table == {name: gauge for name, (_, gauge) in emf.GAUGES.items()} | {
        emf.REFUSED: "connections_refused"
    }
