"""The names of what is mutated follow the functions when they move."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.mutation.survivors import NAMES, ROOT, unmatched


def mutants() -> Iterator[str]:
    """Yield a name, as mutmut gives it, for each function that may be changed."""
    for path in (ROOT / "suno_video_async").glob("*/*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                yield f"{module}.x_{node.name}__mutmut_1"
            elif isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef):
                        yield f"{module}.xǁ{node.name}ǁ{method.name}__mutmut_1"


def test_every_target_is_a_function_that_there_is() -> None:
    """No name is left behind by a move or a rename: it would check nothing without a word."""
    assert unmatched(NAMES, [*mutants()]) == []


def test_a_name_without_a_mutant_is_found() -> None:
    """A misspelt name is reported, a good one is not."""
    names = ["a.verdicts.*", "a.verdict.*"]
    assert unmatched(names, ["a.verdicts.x_read__mutmut_1"]) == ["a.verdict.*"]
