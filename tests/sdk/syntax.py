"""Parses the Kotlin, Swift and Dart that was generated, with the grammars of tree-sitter, and compiles
Kotlin's models.

The rest of Kotlin's client needs libraries that are to be had from Maven alone.
"""

import subprocess
from pathlib import Path

import tree_sitter_dart_orchard
import tree_sitter_kotlin
import tree_sitter_swift
from tree_sitter import Language, Parser

# What depends on the document. The rest is the generators' own, the same for every document, and in
# Swift and Dart uses syntax that the grammars don't know yet.
FILES = {
    "Kotlin": (tree_sitter_kotlin, "kotlin/src/main", "*/client/[am]*/*.kt"),
    "Swift": (tree_sitter_swift, "swift/Sources", "*/[AM]*s/*.swift"),
    "Dart": (tree_sitter_dart_orchard, "dart/lib", "[am][po]*/*.dart"),
}


def check_syntax(sdk):
    """How many files there are of each language, all of them well-formed."""
    counts = {}
    for language, (grammar, folder, pattern) in FILES.items():
        parser = Parser(Language(grammar.language()))
        files = sorted((sdk / folder).rglob(pattern))
        if len(files) < 40:
            raise SystemExit(f"{language}: only {len(files)} files under {folder}")
        for file in files:
            fault = first_fault(parser.parse(file.read_bytes()).root_node)
            if fault:
                line = fault.start_point[0] + 1
                raise SystemExit(f"{language}: {file.relative_to(sdk)}:{line}: {fault.text[:200]!r}")
        counts[language] = len(files)
    return counts


def first_fault(node):
    if node.is_error or node.is_missing:
        return node
    if node.has_error:
        return next(filter(None, map(first_fault, node.children)), None)
    return None


def compile_kotlin(sdk, modules, folder):
    """Compiles the models, where a warning is an error."""
    library = modules / "kotlin-compiler" / "lib"
    models = [path for path in (sdk / "kotlin" / "src" / "main").rglob("models") if path.is_dir()]
    command = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    command += ["-jar", str(library / "kotlin-compiler.jar")]
    command += ["-no-stdlib", "-no-reflect", "-classpath", str(library / "kotlin-stdlib.jar"), "-Werror"]
    command += ["-d", str(folder / "kotlin"), str(Path(__file__).parent / "kotlin"), *map(str, models)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    count = len(list((folder / "kotlin").rglob("models/*.class")))
    if done.returncode or count < 30:
        raise SystemExit(f"Kotlin: {count} classes compiled\n{done.stdout[-4000:]}")
    return count
