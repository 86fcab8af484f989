#!/usr/bin/env python3
"""Checks that the tests observed every part of the OpenAPI document:

    .ci/check_coverage.py LOG [DOCUMENT]          (default: openapi/openapi.json)

LOG is the file that TRIPGATE_TEST_SEEN names. The tests on all databases write what they observe to this
file. The exit status is 1 if an operation, status, response header, parameter, schema, schema field or enum
value of the document is not in LOG.
"""

import json
import pathlib
import sys

# Statuses that the tests need not observe, with the reason.
EXEMPT = {
    "500": "an internal error: a request that causes one is a bug to fix",
    "507": "a full disk: only the operations on trips are tested with it, and all writes share the code",
}


def resolved(document, value):
    while isinstance(value, dict) and "$ref" in value:
        found = document
        for name in value["$ref"].removeprefix("#/").split("/"):
            found = found[name.replace("~1", "/").replace("~0", "~")]
        value = found
    return value


def documented(document):
    """Returns every part of the document in the format of the log, with its kind."""
    lines = {}

    def add_schema(name, definition):
        if "$ref" in definition:
            name = definition["$ref"].rsplit("/", 1)[-1]
            if f"schema {name}" in lines:
                return
            lines[f"schema {name}"] = "schema"
            definition = resolved(document, definition)
        for value in definition.get("enum", []):
            lines[f"value {name} {value}"] = "value"
        for member, inner in definition.get("properties", {}).items():
            lines[f"member {name} {member}"] = "member"
            add_schema(f"{name}.{member}", inner)
        if "items" in definition:
            add_schema(name, definition["items"])

    for path in document["paths"].values():
        for operation in path.values():
            name = operation["operationId"]
            lines[f"operation {name}"] = "operation"
            bodies = [operation.get("requestBody", {})]
            for status, response in operation["responses"].items():
                lines[f"status {name} {status}"] = "status"
                for header in response.get("headers", {}):
                    lines[f"header {name} {status} {header}"] = "header"
                bodies.append(resolved(document, response))
            for body in bodies:
                for media in body.get("content", {}).values():
                    add_schema("", media["schema"])
            for parameter in operation.get("parameters", []):
                if parameter["in"] != "path":
                    lines[f"parameter {name} {parameter['name']}"] = "parameter"
    return lines


def main(log, document="openapi/openapi.json"):
    documented_lines = documented(json.loads(pathlib.Path(document).read_text()))
    seen = set(pathlib.Path(log).read_text().splitlines())
    seen |= {f"operation {line.split()[1]}" for line in seen if line.startswith("status ")}
    missing, counts, exempt = [], {}, {}
    for line, kind in documented_lines.items():
        all_of_kind, seen_of_kind = counts.get(kind, (0, 0))
        counts[kind] = (all_of_kind + 1, seen_of_kind + (line in seen))
        if line in seen:
            continue
        status = line.rsplit(" ", 1)[-1]
        if kind == "status" and status in EXEMPT:
            exempt[status] = exempt.get(status, 0) + 1
        else:
            missing.append(line)
    for kind, (every, found) in counts.items():
        print(f"    {kind:<10} {found:>4} of {every}")
    for status, count in exempt.items():
        print(f"    {count} responses with status {status}, exempt: {EXEMPT[status]}")
    for line in missing:
        print(f"not observed by any test: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.strip())
    sys.exit(main(*sys.argv[1:]))
