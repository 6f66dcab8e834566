"""`rs3gwctl policy ...`: ask policies questions before they are put in force.

    simulate   may this caller do that? Exit status 0 for yes, 1 for no.
    explain    why, statement by statement, and what would change it; exit status as simulate
    lint       what in a document is probably a mistake; exit status 1 if there is an error

Exit status 2 is for a question or document that is not understood. All work on files alone, without
a node, and decide with the code that the node decides with.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

from rs3gwd.iam.policy.document import PolicyKind
from rs3gwd.iam.policy.evaluate import Verdict, evaluate
from rs3gwd.iam.policy.explain import Examined, explain
from rs3gwd.iam.policy.lint import Severity, lint
from tools.rs3gwctl.policy_question import make_question, question_options, read_file
from tools.rs3gwctl.show import as_plain, show_table


@click.group()
def policy() -> None:
    """Ask policies questions, from files, without a node."""


@policy.command("simulate")
@question_options
@click.pass_context
def simulate(context: click.Context, /, **given: Any) -> None:
    """Say whether a caller may do something."""
    question = make_question(given)
    verdict = evaluate(question.access, question.policies)
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(verdict)))
    else:
        _show_verdict(verdict)
    sys.exit(0 if verdict.is_allowed else 1)


@policy.command("explain")
@question_options
@click.pass_context
def explain_command(context: click.Context, /, **given: Any) -> None:
    """Say why, statement by statement, and what would change it."""
    question = make_question(given)
    found = explain(question.access, question.policies)
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(found)))
    else:
        _show_verdict(found.verdict)
        for examined in found.statements:
            _show_examined(examined)
        for change in found.changes:
            click.echo(f"-> {change}")
    sys.exit(0 if found.verdict.is_allowed else 1)


@policy.command("lint")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--bucket", default="", help="FILE is the policy of this bucket.")
@click.option("--trust", is_flag=True, help="FILE is the trust policy of a role.")
@click.pass_context
def lint_command(context: click.Context, file: Path, bucket: str, trust: bool) -> None:
    """Find what is probably a mistake in FILE: an identity policy, unless an option says else."""
    if bucket and trust:
        raise click.UsageError("--bucket and --trust exclude each other")
    kind = PolicyKind.BUCKET if bucket else PolicyKind.TRUST if trust else PolicyKind.IDENTITY
    findings = lint(read_file(file, kind, bucket))
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(findings)))
    elif findings:
        rows = [
            (each.severity.value, each.code, each.statement, f"{each.message}; {each.suggestion}")
            for each in findings
        ]
        show_table(("SEVERITY", "CODE", "STATEMENT", "FINDING"), rows)
    else:
        click.echo("nothing found")
    sys.exit(1 if any(each.severity is Severity.ERROR for each in findings) else 0)


def _show_verdict(verdict: Verdict) -> None:
    click.echo(f"{verdict.outcome.value}: {verdict.reason.value}")
    for one in verdict.deciding:
        click.echo(f"   by {one.statement} of the {one.layer.value} {one.policy}")


def _show_examined(examined: Examined) -> None:
    word = "matches" if examined.matches else "does not match"
    name = f"{examined.layer.value} {examined.policy}, {examined.statement}"
    click.echo(f"{name} ({examined.effect}) {word}")
    for obstacle in examined.obstacles:
        click.echo(f"   {obstacle.part.value}: {obstacle.detail}")
