"""Checks that generated methods have the names of the operations and of the table in docs/app-developers.md."""

import json
import re
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "app-developers.md"


def marked(name):
    """Returns the lines of the first block or table after a marker in docs/app-developers.md."""
    after = GUIDE.read_text().split(f"<!-- {name} -->\n", 1)[1].lstrip("\n").splitlines()
    if after[0].startswith("```"):
        return after[1 : after.index("```", 1)]
    return after[: after.index("")]


def camel(name):
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def texts(folder, pattern):
    files = sorted(folder.rglob(pattern))
    if not files:
        raise SystemExit(f"no {pattern} in {folder}")
    return "\n".join(file.read_text() for file in files)


def generated(sdk):
    """Returns the names of the generated methods for each column of the table, as `Class.method` where
    methods belong to a class or module."""
    functions = texts(sdk / "typescript", "sdk.gen.ts")
    found = {"TypeScript": set(re.findall(r"^export const (\w+) = <", functions, re.MULTILINE))}
    modules = (sdk / "python" / "tripgate_client" / "api").glob("*/*.py")
    found["Python"] = {f"{file.parent.name}.{file.stem}" for file in modules if file.stem != "__init__"}
    client = texts(sdk / "rust" / "src", "lib.rs").split("impl Client {", 2)[-1].split("\npub mod", 1)[0]
    found["Rust"] = set(re.findall(r"pub fn (\w+)\(&self\)", client))
    kinds = {
        "Kotlin": ("kotlin/src/main", "*Api.kt", r"class (\w+Api)\b", r"\n    fun (\w+)\("),
        "Swift": ("swift/Sources", "*API.swift", r"class (\w+API)\b", r"class func (\w+)\("),
        "Dart": ("dart/lib/api", "*_api.dart", r"class (\w+Api)\b", r"\n  Future<[^\n]*> (\w+)\("),
    }
    for language, (folder, pattern, outer, method) in kinds.items():
        names = found[language] = set()
        for part in re.split(rf"(?={outer})", texts(sdk / folder, pattern))[2::2]:
            class_name = re.match(outer, part)[1]
            names |= {f"{class_name}.{name}" for name in re.findall(method, part)}
    return found


def check_names(root, sdk):
    """Checks the names of all methods and returns their number."""
    document = json.loads((root / "openapi" / "openapi.json").read_text())
    operations = [method["operationId"] for item in document["paths"].values() for method in item.values()]
    found, count = generated(sdk), 0
    for language, names in found.items():
        bare = {name.rsplit(".", 1)[-1] for name in names}
        for operation in operations:
            name = operation if language in ("Python", "Rust") else camel(operation)
            if name not in bare:
                raise SystemExit(f"{language} has no {name}, but {sorted(bare)}")
            count += 1
    table = marked("ci:sdk-names")
    head, _, *rows = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in table]
    for row in rows:
        if row[0] not in operations:
            raise SystemExit(f"docs/app-developers.md names {row[0]}, which is not an operation")
        for language, name in zip(head[1:], row[1:], strict=True):
            if name not in found[language] or name.rsplit(".", 1)[-1] not in (row[0], camel(row[0])):
                names = sorted(found[language])
                raise SystemExit(f"docs/app-developers.md calls {row[0]} {name} in {language}; the SDK has {names}")
    if len(rows) < 6 or head[1:] != list(found):
        raise SystemExit("the table of names in docs/app-developers.md is incomplete")
    return count
