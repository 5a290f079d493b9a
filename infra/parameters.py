"""docs/parameters.md: what each template asks for, and what it answers with, made from them."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
WRITTEN: Final = ROOT / "docs" / "parameters.md"
TEMPLATES: Final = {
    "template.yaml": "Workflows, queues, REST API: [deploy.md](deploy.md).",
    "infra/consumer-small.yaml": "The consumer on an instance: [operations.md](operations.md).",
    "infra/consumer.yaml": "Consumers for any number of viewers: [operations.md](operations.md).",
    "infra/websocket-api.yaml": "No consumer at all: [without-a-daemon.md](without-a-daemon.md).",
}
_HEAD: Final = """\
# Parameters and outputs

Written by `make parameters` from the templates, in the order in which the console asks.
"""


class Template(yaml.SafeLoader):
    """CloudFormation's short forms count as text."""


Template.add_multi_constructor("!", lambda _loader, suffix, _node: f"!{suffix}")


def markdown() -> str:
    """The paper."""
    return "\n".join([_HEAD, *(_section(path, about) for path, about in TEMPLATES.items())])


def _section(path: str, about: str) -> str:
    template = yaml.load((ROOT / path).read_text(), Template)  # noqa: S506  # a SafeLoader's
    lines = [f"## {path}", "", about, "", "| parameter | default | |", "|---|---|---|"]
    lines += [_parameter(name, template["Parameters"][name]) for name in _in_order(template)]
    lines += ["", "| output | |", "|---|---|"]
    lines += [f"| `{name}` | {_flat(each)} |" for name, each in template["Outputs"].items()]
    return "\n".join([*lines, ""])


def _in_order(template: dict[str, Any]) -> list[str]:
    """Of the groups in which the console shows them, then all others."""
    interface = template.get("Metadata", {}).get("AWS::CloudFormation::Interface", {})
    grouped = [
        name for group in interface.get("ParameterGroups", ()) for name in group["Parameters"]
    ]
    return list(dict.fromkeys([*grouped, *template["Parameters"]]))


def _parameter(name: str, parameter: dict[str, Any]) -> str:
    default = parameter.get("Default")
    shown = "required" if default is None else f"`{default}`" if default != "" else "none"
    return f"| `{name}` | {shown} | {_flat(parameter)} |"


def _flat(described: dict[str, Any]) -> str:
    text = re.sub(r"([|<])", r"\\\1", " ".join(described["Description"].split()))
    return text if text.endswith(".") else f"{text}."


if __name__ == "__main__":
    WRITTEN.write_text(markdown())
