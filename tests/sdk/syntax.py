"""Parses the generated Kotlin, Swift and Dart with tree-sitter grammars, and compiles Kotlin's models.

The rest of the Kotlin client needs libraries that only Maven repositories provide.
"""

import subprocess
from pathlib import Path

import tree_sitter_dart_orchard
import tree_sitter_kotlin
import tree_sitter_swift
from tree_sitter import Language, Parser

# The files that depend on the document. All other files are the same for every document, and in Swift and
# Dart they use syntax that the grammars do not support yet.
FILES = {
    "Kotlin": (tree_sitter_kotlin, "kotlin/src/main", "*/client/[am]*/*.kt"),
    "Swift": (tree_sitter_swift, "swift/Sources", "*/[AM]*s/*.swift"),
    "Dart": (tree_sitter_dart_orchard, "dart/lib", "[am][po]*/*.dart"),
}


def check_syntax(sdk):
    """Checks that all files are well-formed and returns their number per language."""
    counts = {}
    for language, (grammar, folder, pattern) in FILES.items():
        parser = Parser(Language(grammar.language()))
        files = sorted((sdk / folder).rglob(pattern))
        if len(files) < 40:
            raise SystemExit(f"{language}: only {len(files)} files under {folder}")
        for file in files:
            error = first_error(parser.parse(file.read_bytes()).root_node)
            if error:
                line = error.start_point[0] + 1
                raise SystemExit(f"{language}: {file.relative_to(sdk)}:{line}: {error.text[:200]!r}")
        counts[language] = len(files)
    return counts


def first_error(node):
    if node.is_error or node.is_missing:
        return node
    if node.has_error:
        return next(filter(None, map(first_error, node.children)), None)
    return None


def compile_kotlin(sdk, modules, folder):
    """Compiles the models with warnings as errors and returns the number of classes."""
    library = modules / "kotlin-compiler" / "lib"
    models = [path for path in (sdk / "kotlin" / "src" / "main").rglob("models") if path.is_dir()]
    command = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    command += ["-jar", str(library / "kotlin-compiler.jar")]
    command += ["-no-stdlib", "-no-reflect", "-classpath", str(library / "kotlin-stdlib.jar"), "-Werror"]
    command += ["-d", str(folder / "kotlin"), str(Path(__file__).parent / "kotlin"), *map(str, models)]
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    count = len(list((folder / "kotlin").rglob("models/*.class")))
    if result.returncode or count < 30:
        raise SystemExit(f"Kotlin: {count} classes compiled\n{result.stdout[-4000:]}")
    return count
