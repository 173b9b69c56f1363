"""The command line finds verbs, explains mistakes and ends with the error's own status."""

import json
import subprocess
import sys

import pytest

from edgeml.cli import output
from edgeml.cli.main import VERBS, main
from edgeml.errors import EdgeMLError
from edgeml.version import __version__


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    listing = capsys.readouterr().out
    assert all(f"  {verb} " in listing for verb in VERBS)


def test_no_verb_prints_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "verbs:" in capsys.readouterr().err


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"edgeml {__version__}\n"


def test_a_typo_names_the_nearest_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["inspct"])
    assert end.value.code == 2
    assert "did you mean 'inspect'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [verb for verb, entry in VERBS.items() if entry.module])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert f"edgeml {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", ["fleet ingest", "fleet rollout", "repo release", "repo gc", "update pin"]
)
def test_a_command_of_a_verb_says_what_it_does_in_a_sentence(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out.split("\n\n")[1]
    assert said[0].isupper()
    assert said.endswith(".")


def test_an_error_is_one_line_and_its_own_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["inspect", "no-such-file.tflite"])
    captured = capsys.readouterr()
    assert status == 11
    assert captured.out == ""
    assert captured.err.startswith("edgeml: no-such-file.tflite: cannot be read")
    assert captured.err.count("\n") == 1


def _all_errors(root: type[EdgeMLError]) -> set[type[EdgeMLError]]:
    return {root, *(e for child in root.__subclasses__() for e in _all_errors(child))}


def test_every_branch_of_the_error_tree_has_an_exit_status_of_its_own() -> None:
    import edgeml.demo.processes  # noqa: F401

    branches = [error for error in _all_errors(EdgeMLError) if "exit_code" in vars(error)]
    codes = [error.exit_code for error in branches]
    assert len(set(codes)) == len(codes)
    assert all(2 < code < 126 for code in codes)


def test_the_help_of_the_top_imports_no_verb() -> None:
    code = (
        "import sys; from edgeml.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "paho", "ai_edge_litert", "edgeml.cli.demo"} & set(done.stderr.split())


def test_json_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": [1, "ü"], "b": None})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"a": [1, "ü"], "b": None}
    assert printed.count("\n") == 1


def test_a_table_puts_text_left_and_numbers_right() -> None:
    table = output.format_table(("name", "n"), [("a", 5), ("bcd", 12345), ("e", None)])
    assert table.splitlines() == [
        "name      n",
        "────  ─────",
        "a         5",
        "bcd   12345",
        "e         –",
    ]


def test_a_large_number_in_a_table_has_no_exponent() -> None:
    table = output.format_table(("what", "us"), [("p50", 186.42), ("p99", 57691.4), ("p100", 3e-7)])
    assert [line.split()[-1] for line in table.splitlines()[2:]] == ["186.4", "57691", "3e-07"]


def test_a_long_last_column_goes_on_below_itself() -> None:
    rows = [("a", 5, "why this one was taken"), ("bcd", 17, "")]
    assert output.format_table(("name", "n", ""), rows, 10).splitlines() == [
        "name   n",
        "────  ──  ────────",
        "a      5  why this",
        "          one was",
        "          taken",
        "bcd   17",
    ]


def test_progress_off_a_terminal_is_a_line_for_each_tenth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with output.Progress("work", 100) as progress:
        for i in range(101):
            progress.update(i)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "work 0/100"
    assert lines[-1] == "work 100/100"
    assert len(lines) == 11


def test_quiet_progress_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with output.Progress("work", 10, quiet=True) as progress:
        progress.update(5)
    assert capsys.readouterr().err == ""
