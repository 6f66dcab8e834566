"""What the Resource element of a statement can name in this store.

    arn:aws:s3:::bucket          a bucket
    arn:aws:s3:::bucket/key      an object
    *                            everything

A pattern whose wildcard comes before any slash (`arn:aws:s3:::logs*`) may name buckets and objects
alike, since a wildcard reaches over slashes.

Source: "Resource types defined by Amazon S3" in the Service Authorization Reference.
"""

from collections.abc import Iterable

from rs3gwd.iam.policy.actions import ResourceType
from rs3gwd.iam.policy.variables import Template
from rs3gwd.iam.policy.wildcards import Piece, Wildcard, compile_text, render

S3_ARN = "arn:aws:s3:::"
"""What the ARN of every bucket and object begins with."""


def bucket_arn(bucket: str) -> str:
    """The ARN of a bucket."""
    return S3_ARN + bucket


def object_arn(bucket: str, key: str) -> str:
    """The ARN of an object."""
    return f"{S3_ARN}{bucket}/{key}"


def names_bucket(template: Template, bucket: str) -> bool:
    """Whether a resource can be the bucket of this name, or something in it.

    A variable may become anything, so it counts as `*` here.
    """
    if template.text == "*":
        return True
    bucket_part = _bucket_part(template)
    return bucket_part is not None and compile_text(bucket_part)(bucket)


def resource_types(templates: Iterable[Template]) -> frozenset[ResourceType]:
    """What kinds of things the resources of a statement can be."""
    return frozenset().union(*map(types_of, templates))


def types_of(template: Template) -> frozenset[ResourceType]:
    """What kinds of things one resource can be; OTHER alone for one outside this store."""
    if template.text == "*" or (
        not template.text.startswith(S3_ARN) and compile_text(_as_pattern(template))(S3_ARN)
    ):
        return frozenset(ResourceType)
    if not template.text.startswith(S3_ARN):
        return frozenset({ResourceType.OTHER})
    pieces = _as_pattern(template)
    head = _bucket_part(template) or []
    if render(head) == "*" and not _has_slash(pieces):
        # What is done to the account has `arn:aws:s3:::*` as its resource.
        return frozenset({ResourceType.BUCKET, ResourceType.OBJECT, ResourceType.ACCOUNT})
    if Wildcard.RUN in head and not _has_slash(pieces):
        return frozenset({ResourceType.BUCKET, ResourceType.OBJECT})
    return frozenset({ResourceType.OBJECT if _has_slash(pieces) else ResourceType.BUCKET})


def _as_pattern(template: Template) -> list[Piece]:
    return [
        piece if isinstance(piece, str | Wildcard) else Wildcard.RUN for piece in template.pieces
    ]


def _bucket_part(template: Template) -> list[Piece] | None:
    """The pattern between `arn:aws:s3:::` and the first slash; None where it does not begin so."""
    pieces = _as_pattern(template)
    if not pieces or not isinstance(pieces[0], str) or not template.text.startswith(S3_ARN):
        return None
    found: list[Piece] = []
    for piece in [pieces[0].removeprefix(S3_ARN), *pieces[1:]]:
        if isinstance(piece, str) and "/" in piece:
            found.append(piece.partition("/")[0])
            break
        found.append(piece)
    return found


def _has_slash(pieces: Iterable[Piece]) -> bool:
    return any(isinstance(piece, str) and "/" in piece for piece in pieces)
