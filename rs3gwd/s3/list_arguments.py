"""The arguments that the listings share. Pure.

Source: ListObjectsV2, ListObjects, ListObjectVersions and ListMultipartUploads in the Amazon S3 API
Reference.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from rs3gwd.base.limits import LIST_KEYS_MAX
from rs3gwd.s3.arguments import argument_error, integer_argument, key_argument
from rs3gwd.s3.xml_write import key_text, key_texts, url_encode, url_encode_all


class ListArguments(Struct, frozen=True):
    """The arguments of every listing. `limit` is 0 to 1,000; `write_key` makes a key XML text,
    `write_keys` many."""

    prefix: bytes
    delimiter: bytes
    limit: int
    encoding_type: str
    write_key: Callable[[bytes], str]
    write_keys: Callable[[Sequence[bytes]], list[str]]


def list_arguments(query: dict[str, str], *, limit_name: str = "max-keys") -> ListArguments:
    """Reads them. Raises ApiError InvalidArgument, KeyTooLongError.

    A limit above 1,000 is taken as 1,000.
    """
    encoding_type = query.get("encoding-type", "")
    if "encoding-type" in query and encoding_type != "url":
        raise argument_error(
            "encoding-type", encoding_type, "Invalid Encoding Method specified in Request"
        )
    return ListArguments(
        prefix=key_argument(query, "prefix"),
        delimiter=key_argument(query, "delimiter"),
        limit=min(integer_argument(query, limit_name, default=LIST_KEYS_MAX), LIST_KEYS_MAX),
        encoding_type=encoding_type,
        write_key=url_encode if encoding_type else key_text,
        write_keys=url_encode_all if encoding_type else key_texts,
    )
