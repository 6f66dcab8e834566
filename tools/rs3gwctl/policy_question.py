"""The question that `rs3gwctl policy simulate` and `explain` are asked, made of their options.

Nothing is looked up anywhere: policies are files, the caller is an ARN, condition keys are given as
KEY=VALUE. Keys that follow from the caller (aws:username, aws:PrincipalArn, ...) and from the clock
(aws:CurrentTime) are filled in as the server does, and can be given to be others.
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.policy.context import ANONYMOUS, Access, Caller, CallerKind, root_caller
from rs3gwd.iam.policy.document import (
    BUCKET_CHARACTERS_MAX,
    MANAGED_CHARACTERS_MAX,
    ROLE_INLINE_CHARACTERS_MAX,
    TRUST_CHARACTERS_MAX,
    Document,
    PolicyKind,
)
from rs3gwd.iam.policy.evaluate import Policies
from rs3gwd.iam.policy.public import is_public_policy
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.policy.request_keys import RequestFacts, RequestKeys
from rs3gwd.iam.policy.resources import S3_ARN
from rs3gwd.iam.policy.statements import CompiledPolicy
from rs3gwd.iam.policy.variables import normalize_key

CHARACTERS_MAX = {
    PolicyKind.BUCKET: BUCKET_CHARACTERS_MAX,
    # The largest of the quotas: which one holds depends on what the document is attached to.
    PolicyKind.IDENTITY: max(ROLE_INLINE_CHARACTERS_MAX, MANAGED_CHARACTERS_MAX),
    PolicyKind.TRUST: TRUST_CHARACTERS_MAX,
}

_PRINCIPAL = re.compile(r"arn:aws:(?:iam|sts)::(\d{12}):([a-z-]+)(?:/(.+))?", re.ASCII)


class QuestionError(click.ClickException):
    """A question or file that is not understood: exit status 2, since 1 is the answer no."""

    exit_code = 2


class Question(Struct, frozen=True):
    """What is asked and the policies that have a say."""

    access: Access
    policies: Policies


def read_file(path: Path, kind: PolicyKind, bucket: str = "") -> Document:
    """A checked document. Raises QuestionError with the refusal the server would send."""
    try:
        text = path.read_bytes()
        return read_policy(text, kind, characters_max=CHARACTERS_MAX[kind], bucket=bucket)
    except OSError as error:
        raise QuestionError(f"{path}: {error.strerror}") from error
    except ApiError as error:
        raise QuestionError(f"{path}: {error}") from error


def question_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that make a question."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    options = (
        click.option("--action", required=True, help="For instance s3:GetObject."),
        click.option("--resource", required=True, help="An ARN, for instance arn:aws:s3:::b/key."),
        click.option("--principal", default="", help="The caller's ARN; without it, anonymous."),
        click.option("--tag", "tags", multiple=True, help="KEY=VALUE: a tag of the caller."),
        click.option("--owner", default="", help="The account that owns the bucket, 12 digits."),
        click.option("--bucket-policy", type=file, help="The bucket's policy."),
        click.option("--identity-policy", type=file, multiple=True, help="Repeat for several."),
        click.option("--boundary", type=file, help="The permissions boundary."),
        click.option("--session-policy", type=file, multiple=True, help="Repeat for several."),
        click.option(
            "--context", "keys", multiple=True, help="KEY=VALUE: a condition key; repeat for more."
        ),
        click.option("--restrict-public", is_flag=True, help="RestrictPublicBuckets is on."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def make_question(given: dict[str, Any]) -> Question:
    """The question that the options ask. Raises QuestionError."""
    caller = read_caller(given["principal"], _pairs(given["tags"], "--tag"))
    resource: str = given["resource"]
    if not resource.startswith("arn:"):
        raise QuestionError(f"{resource} is not an ARN; try {S3_ARN}{resource}")
    owner = given["owner"] or caller.account_id
    return Question(
        access=Access(
            caller=caller,
            action=given["action"],
            resource=resource,
            resource_account_id=owner,
            lookup=_lookup(caller, owner, _pairs(given["keys"], "--context")),
        ),
        policies=_policies(given, resource),
    )


def read_caller(arn: str, tags: Sequence[tuple[str, str]]) -> Caller:
    """The caller of an ARN, anonymous for an empty one. Raises QuestionError."""
    if not arn:
        return ANONYMOUS
    found = _PRINCIPAL.fullmatch(arn)
    if found is None:
        raise QuestionError(f"{arn} is not the ARN of an account, user, role or session")
    account, kind, path = found.group(1), found.group(2), found.group(3) or ""
    if kind == "root":
        return root_caller(account)
    name = path.rpartition("/")[2]
    if kind == "user":
        return _named(CallerKind.USER, account, arn, name, tags)
    if kind == "federated-user":
        return _named(CallerKind.FEDERATED, account, arn, name, tags)
    if kind == "assumed-role":
        role = f"arn:aws:iam::{account}:role/{path.partition('/')[0]}"
        return _named(CallerKind.ROLE_SESSION, account, arn, name, tags, issuer=role)
    raise QuestionError(f"{arn}: a role asks as a session of it, .../assumed-role/ROLE/NAME")


def _named(
    kind: CallerKind,
    account: str,
    arn: str,
    name: str,
    tags: Sequence[tuple[str, str]],
    issuer: str = "",
) -> Caller:
    return Caller(
        kind=kind,
        account_id=account,
        arn=arn,
        issuer_arn=issuer,
        user_id=name,
        name=name,
        tags=tuple(tags),
    )


def _policies(given: dict[str, Any], resource: str) -> Policies:
    bucket = resource.removeprefix(S3_ARN).partition("/")[0]
    path: Path | None = given["bucket_policy"]
    document = None if path is None else read_file(path, PolicyKind.BUCKET, bucket)
    boundary: Path | None = given["boundary"]
    sessions: tuple[Path, ...] = given["session_policy"]
    return Policies(
        identity=tuple(map(_compiled, given["identity_policy"])),
        boundary=None if boundary is None else _compiled(boundary),
        session=tuple(map(_compiled, sessions)) if sessions else None,
        resource=None if document is None else CompiledPolicy(str(path), document),
        public_restricted=given["restrict_public"]
        and document is not None
        and is_public_policy(document),
    )


def _compiled(path: Path) -> CompiledPolicy:
    return CompiledPolicy(str(path), read_file(path, PolicyKind.IDENTITY))


def _pairs(texts: Sequence[str], option: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise QuestionError(f"{option} {text}: expected KEY=VALUE")
        pairs.append((key, value))
    return pairs


def _lookup(caller: Caller, owner: str, pairs: Sequence[tuple[str, str]]) -> RequestKeys:
    given: dict[str, tuple[str, ...]] = {}
    for key, value in pairs:
        normal = normalize_key(key)
        given[normal] = (*given.get(normal, ()), value)
    facts = RequestFacts(
        caller=caller,
        headers={},
        query={},
        peer="",
        is_secure=True,
        now_ms=time.time_ns() // 1_000_000,
        region="",
        resource_account_id=owner,
    )
    return RequestKeys(facts, given)
