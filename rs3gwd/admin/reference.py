"""The reference of the admin API, as Markdown, from the table and the types of its answers. Pure.

`docs/operate/admin-api.md` is this; a test compares the two, and writes the page anew when
RS3GW_REWRITE is set.
"""

from collections.abc import Iterator
from enum import StrEnum
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct

from rs3gwd.admin.errors import STATUSES
from rs3gwd.admin.operations import ADMIN_OPERATIONS, CLUSTER_ARN, PREFIX, Operation
from rs3gwd.admin.service import BODY_BYTES_MAX, SERVICE

_HEAD: Final = f"""# The admin API

What `rs3gwctl --endpoint URL cluster ...` asks, for programs: JSON over the port that serves S3, on
any node of a cluster. Without `--endpoint`, `rs3gwctl` asks the same of the node on its machine,
over a socket that only the daemon's user can open, and needs no key for it.

This page is generated from `rs3gwd/admin/operations.py`; to write it anew:
`RS3GW_REWRITE=1 pytest tests/unit/admin/test_admin_reference.py`.

## Requests

Paths begin with `{PREFIX}`, which no bucket can be called. Requests are signed with
version 4 in the `Authorization` header, for the region of the endpoint and the service `{SERVICE}`;
the signature covers the body, of {BODY_BYTES_MAX} bytes at most. With curl:

    curl --aws-sigv4 aws:amz:us-east-1:{SERVICE} --user "$KEY_ID:$SECRET" \\
        https://node:9000{PREFIX}cluster/health

The store's root account may do everything. Its users, groups and roles may do what their policies
say: the actions are those below, on `{CLUSTER_ARN}` or what stands under it.
Other accounts may do nothing here, whatever their policies say.

    {{"Effect": "Allow", "Action": ["rs3gwd:Get*", "rs3gwd:List*"], "Resource": "{CLUSTER_ARN}*"}}

permits to look and to change nothing.

Every request waits for the proof that the node knows the current accounts and policies. Without a
majority the answer is 503 `SlowDown`, and the node's own socket still tells how things are.

Fields may be added to answers at any time; none is taken away within `v1`.

"""


def render_reference() -> str:
    """The page."""
    lines = [_HEAD + "## Operations", "", "| operation | request | what it does |", "|---|---|---|"]
    lines += [
        f"| [{row.name}](#{row.name.lower()}) | `{row.method} {PREFIX}{row.path}` | {row.text} |"
        for row in ADMIN_OPERATIONS
    ]
    types: dict[str, type[Struct]] = {}
    for row in ADMIN_OPERATIONS:
        lines += ["", f"### {row.name}", "", *_operation(row)]
        for kind in (row.wanted, row.answer):
            if kind is not None:
                types[kind.__name__] = kind
                types.update(_inner(kind))
    lines += ["", "## Types", ""]
    for name, kind in sorted(types.items()):
        lines += [f"### {name}", "", _first_line(kind), "", *_fields(kind), ""]
    lines += [*_errors(), ""]
    return "\n".join(lines)


def _operation(row: Operation) -> Iterator[str]:
    yield f"`{row.method} {PREFIX}{row.path}`"
    yield ""
    yield f"{row.text} It needs `{row.action}` on `{row.resource}`."
    if row.wanted is not None:
        yield f"The body is a [{row.wanted.__name__}](#{row.wanted.__name__.lower()})."
    yield f"The answer is a [{row.answer.__name__}](#{row.answer.__name__.lower()})."
    if row.refusals:
        yield f"Errors of its own: {', '.join(f'`{code}`' for code in row.refusals)}."


def _fields(kind: type[Struct]) -> Iterator[str]:
    yield "| field | type | what it is |"
    yield "|---|---|---|"
    for name, hint in get_type_hints(kind, include_extras=True).items():
        inner, note = _split(hint)
        yield f"| `{name}` | {_type_name(inner)} | {note} |"


def _split(hint: Any) -> tuple[Any, str]:
    """The type and the description of a field. Raises AssertionError for one without."""
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Meta) and extra.description:
            return hint.__origin__, extra.description
    raise AssertionError(f"{hint} has no description")


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _type_name(kind.__origin__)
    arguments = get_args(kind)
    if get_origin(kind) is list:
        return f"list of {_type_name(arguments[0])}"
    if arguments:
        named = [_type_name(each) for each in arguments if each is not NoneType]
        return f"{' or '.join(named)} or null"
    if issubclass(kind, Struct):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    if issubclass(kind, StrEnum):
        return "string"
    return {bool: "boolean", int: "integer", float: "number", str: "string"}[kind]


def _inner(kind: type[Struct]) -> dict[str, type[Struct]]:
    """The structs that the fields of a struct are made of."""
    found: dict[str, type[Struct]] = {}
    for hint in get_type_hints(kind).values():
        for each in (hint, *get_args(hint)):
            if isinstance(each, type) and issubclass(each, Struct):
                found[each.__name__] = each
                found.update(_inner(each))
    return found


def _first_line(kind: type[Struct]) -> str:
    return (kind.__doc__ or "").partition("\n\n")[0].replace("\n    ", " ")


def _errors() -> Iterator[str]:
    yield "## Errors"
    yield ""
    yield (
        'An error is `{"error": {"code": ..., "message": ..., "request_id": ...}}`: `code` is '
        "one of these, `message` is for people, `request_id` stands in the node's log."
    )
    yield ""
    yield "| code | status |"
    yield "|---|---|"
    for code, status in sorted(STATUSES.items()):
        yield f"| `{code}` | {status} |"
    yield "| `InternalError` | 500 |"
