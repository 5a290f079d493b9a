"""infra/openapi.yaml, made from infra/openapi.source.yaml and infra/mappings.

The source says each thing once, with YAML's anchors and merge keys. CloudFormation refuses them
("YAML aliases are not allowed in CloudFormation templates"), and nothing says that it does not
in what it includes; API Gateway takes no `$ref` to a shared response (developer guide, "important
notes", REST APIs). So all is written out here, and both files are kept.
"""

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "openapi.source.yaml"
WRITTEN = FOLDER / "openapi.yaml"
HEADER = "# Written by `make openapi` from openapi.source.yaml and mappings/: change those.\n"


class Source(yaml.SafeLoader):
    """YAML in which `!vtl {file: <name>, <placeholder>: <resource>}` is a mapping template."""


class Expanded(yaml.SafeDumper):
    """YAML without aliases, with long texts as they are."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _template(loader: Source, node: yaml.MappingNode) -> str:
    """The text of a template, without its comments and with its placeholders' own names."""
    names = loader.construct_mapping(node)
    path = FOLDER / "mappings" / f"{names.pop('file')}.vtl"
    lines = path.read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("##"))
    for placeholder, resource in names.items():
        text = text.replace(f"${{{placeholder}}}", f"${{{resource}}}")
    return text


def _text(dumper: Expanded, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


Source.add_constructor("!vtl", _template)
Expanded.add_representer(str, _text)


def expand() -> str:
    """What infra/openapi.yaml must be. `parts`, where the source keeps what it repeats, goes."""
    body: dict[str, Any] = yaml.load(SOURCE.read_text(), Source)  # noqa: S506 - a SafeLoader
    del body["parts"]
    text = yaml.dump(body, Dumper=Expanded, sort_keys=False, allow_unicode=True, width=100)
    return HEADER + text


if __name__ == "__main__":
    WRITTEN.write_text(expand())
