"""How objects come to be encrypted and are read again: the rules between headers and keys.

    writes  headers, else the bucket's rule -> EncryptionWish -> data key, sealed -> `Sealing`
    reads   the version's record, the caller's key            -> data key         -> `Unsealing`

An upload is given its data key when it is created; every part of it is encrypted with a key of its
own, made of that and of a salt. Whether an object is encrypted stands in its record and nowhere
else, so its bytes leave by `open_object` alone.

A caller with no key, a key too many or the wrong one is told what AWS says: 400 where the headers
do not fit the object, 403 where the key is not the one.

Sources: "Protecting data with server-side encryption" and its subsections in the Amazon S3 User
Guide; GetObject, PutObject, UploadPart and CopyObject in the API Reference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType

from msgspec import Struct
from msgspec.structs import replace

from rs3gwd.base.encryption import SALT_BYTES, DataKey, KeyWish, ObjectKeys, stored_size
from rs3gwd.base.errors import ApiError
from rs3gwd.base.memory import SpareBuffers
from rs3gwd.base.ports import BodyReader, Stage
from rs3gwd.base.records import EncryptionKind, EncryptionRecord, UploadRecord, VersionRecord
from rs3gwd.s3.arguments import argument_error
from rs3gwd.s3.bucket_encryption import encryption_rule
from rs3gwd.s3.call import Call
from rs3gwd.s3.encrypted_bodies import DecryptingReader, encrypting
from rs3gwd.s3.encrypted_ranges import SINGLE_SALT, EncryptedRange, plan_range
from rs3gwd.s3.encryption_headers import (
    CUSTOMER,
    ENCRYPTION,
    SOURCE_CUSTOMER,
    CustomerKey,
    EncryptionWish,
    bucket_key_in,
    customer_key_in,
    refuse_unknown,
    refuse_wish,
    wish_in,
)
from rs3gwd.s3.object_arguments import bucket_of


class Sealing(Struct, frozen=True):
    """What encrypts one body: the record to keep of it, its data key and its salt."""

    record: EncryptionRecord
    key: DataKey
    salt: bytes


class Place(Struct, frozen=True):
    """Where an encrypted object is, and which headers bring the key for it."""

    bucket: str
    key: bytes
    headers: str = CUSTOMER


def place_of(call: Call) -> Place:
    """The object that a call names."""
    return Place(call.bucket, call.key)


def source_place(bucket: str, key: bytes) -> Place:
    """The source of a copy."""
    return Place(bucket, key, SOURCE_CUSTOMER)


async def seal_object(call: Call) -> Sealing | None:
    """How the object that a call makes is encrypted; None where it is not.

    Raises ApiError for what the headers may not ask for, AccessDenied (the bucket keeps SSE-C
    out), and what `ObjectKeys.create` raises.
    """
    wish = await _wish(call)
    if wish is None:
        return None
    customer_key = wish.customer_key
    record, key = await _keys(call).create(
        KeyWish(
            kind=wish.kind,
            bucket=call.bucket,
            key=call.key,
            key_id=wish.key_id,
            context=wish.context,
            bucket_key=bool(wish.bucket_key),
            customer_key=customer_key.key if customer_key else None,
        )
    )
    if customer_key is not None:
        record = replace(record, customer_key_md5=customer_key.md5)
    return Sealing(record, key, SINGLE_SALT)


async def seal_part(call: Call, upload: UploadRecord) -> Sealing | None:
    """How a part of an upload is encrypted; None where the upload is not.

    Raises ApiError InvalidRequest (the caller's key is not the upload's, or not wanted),
    InvalidArgument, and what `ObjectKeys.open` raises.
    """
    headers = call.request.headers
    refuse_unknown(headers)
    refuse_wish(headers)
    record = upload.attributes.encryption
    customer_key = upload_customer_key(call, upload)
    if record is None:
        return None
    key = await _open_key(call, place_of(call), record, customer_key)
    return Sealing(record, key, call.services.random.token_bytes(SALT_BYTES))


def upload_customer_key(
    call: Call, upload: UploadRecord, *, is_required: bool = True
) -> CustomerKey | None:
    """The key that a request about an upload brings. Raises ApiError InvalidRequest.

    Requests that write no bytes need not bring it.
    """
    given = customer_key_in(call.request.headers, private=_is_private(call))
    record = upload.attributes.encryption
    if record is None or record.kind is not EncryptionKind.SSE_C:
        if given is not None:
            raise ApiError(
                "InvalidRequest",
                "The multipart upload initiate did not request encryption with a key of yours. "
                "Please resend the request without sending encryption parameters.",
            )
        return None
    if given is None:
        if not is_required:
            return None
        raise ApiError(
            "InvalidRequest",
            "The multipart upload initiate requested encryption. Subsequent part requests must "
            "include the appropriate encryption parameters.",
        )
    if given.md5 != record.customer_key_md5:
        raise ApiError(
            "InvalidRequest",
            "The provided encryption parameters did not match the ones used originally.",
        )
    return given


def open_stage(
    call: Call, sealing: Sealing | None, size_bytes: int | None
) -> AbstractAsyncContextManager[Stage]:
    """A stage for a body of so many bytes (None: not known) in the bucket of a call."""
    if sealing is not None:
        return _open_sealing_stage(call, sealing, size_bytes)
    store = call.services.store
    return store.stage(size_hint=size_bytes, durability=bucket_of(call).durability)


def etag_is_md5(record: EncryptionRecord | None) -> bool:
    """Whether the ETag of such an object is the MD5 of its bytes.

    Source: "Object" in the Amazon S3 API Reference, ETag: it is for plain objects and SSE-S3.
    """
    return record is None or record.kind is EncryptionKind.SSE_S3


def etag_for(call: Call, sealing: Sealing | None, md5_hex: str) -> str:
    """The ETag of a new body: its MD5, or 16 random bytes where that would tell of its bytes."""
    if etag_is_md5(sealing.record if sealing else None):
        return md5_hex
    return call.services.random.token_bytes(16).hex()


def check_read(call: Call, place: Place, version: VersionRecord) -> CustomerKey | None:
    """That the headers of a read fit the object; the key that they bring.

    Raises ApiError InvalidRequest (no key for SSE-C, or one that is not wanted), AccessDenied
    (another key), InvalidArgument.
    """
    headers = call.request.headers
    record = version.attributes.encryption
    given = customer_key_in(headers, private=_is_private(call), prefix=place.headers)
    if record is None or record.kind is not EncryptionKind.SSE_C:
        if given is not None:
            # To overlook it would let a caller believe that the bytes are encrypted with it.
            raise ApiError(
                "InvalidRequest", "The encryption parameters are not applicable to this object."
            )
        if record is not None and record.kind is EncryptionKind.SSE_KMS:
            _refuse_unsigned(call)
        return None
    if given is None:
        raise ApiError(
            "InvalidRequest",
            "The object was stored using a form of Server Side Encryption. The correct parameters "
            "must be provided to retrieve the object.",
        )
    if given.md5 != record.customer_key_md5:
        raise ApiError("AccessDenied")
    return given


async def open_object(
    call: Call, place: Place, version: VersionRecord, start: int, end: int
) -> AbstractAsyncContextManager[BodyReader]:
    """The half-open, not empty range `start` to `end` of an object, decrypted; not opened yet.

    Raises VersionGone, DataCorrupt, and as `check_read` and `ObjectKeys.open` do.
    """
    store = call.services.store
    record = version.attributes.encryption
    customer_key = check_read(call, place, version)
    if record is None:
        return store.open_body(version, start, end)
    key = await _open_key(call, place, record, customer_key)
    manifest = None if version.manifest_id is None else await store.get_manifest(version)
    planned = plan_range(version, manifest, start, end)
    body = store.open_body(version, planned.start, planned.end)
    return _DecryptedBody(body, key, planned, call.services.memory.buffers)


@asynccontextmanager
async def _open_sealing_stage(
    call: Call, sealing: Sealing, size_bytes: int | None
) -> AsyncIterator[Stage]:
    services = call.services
    hint = None if size_bytes is None else stored_size(size_bytes)
    cipher = sealing.key.cipher(sealing.salt)
    async with (
        services.store.stage(size_hint=hint, durability=bucket_of(call).durability) as stage,
        encrypting(stage, cipher, services.threads, services.memory) as encrypting_stage,
    ):
        yield encrypting_stage


class _DecryptedBody(AbstractAsyncContextManager[BodyReader]):
    """An encrypted body: entering opens it and gives the reader that decrypts."""

    def __init__(
        self,
        context: AbstractAsyncContextManager[BodyReader],
        key: DataKey,
        planned: EncryptedRange,
        buffers: SpareBuffers,
    ) -> None:
        self._context = context
        self._key = key
        self._planned = planned
        self._buffers = buffers
        self._reader: DecryptingReader | None = None

    async def __aenter__(self) -> BodyReader:
        reader = await self._context.__aenter__()
        self._reader = DecryptingReader(reader, self._planned.runs, self._key.cipher, self._buffers)
        return self._reader

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._reader is not None:
            self._reader.close()
        return await self._context.__aexit__(kind, error, traceback)


async def _wish(call: Call) -> EncryptionWish | None:
    """What the headers ask for, or else the bucket. Raises ApiError."""
    headers = call.request.headers
    refuse_unknown(headers)
    wish = wish_in(headers, private=_is_private(call))
    rule = await encryption_rule(call)
    if wish is None:
        if rule is None:
            return None
        wish = EncryptionWish(rule.kind, key_id=rule.key_id, bucket_key=bucket_key_in(headers))
    elif wish.kind is EncryptionKind.SSE_C and rule is not None and rule.blocks_customer_keys:
        raise ApiError("AccessDenied")
    if wish.kind is EncryptionKind.SSE_KMS:
        _refuse_unsigned(call)
        if wish.bucket_key is None and rule is not None:
            wish = replace(wish, bucket_key=rule.bucket_key)
    return wish


async def _open_key(
    call: Call, place: Place, record: EncryptionRecord, customer_key: CustomerKey | None
) -> DataKey:
    return await _keys(call).open(
        record,
        bucket=place.bucket,
        key=place.key,
        customer_key=customer_key.key if customer_key else None,
    )


def _keys(call: Call) -> ObjectKeys:
    keys = call.services.keys
    if keys is None:
        raise ApiError("NotImplemented", "This server has no keys to encrypt with")
    return keys


def _refuse_unsigned(call: Call) -> None:
    """Who uses a key of the key management says who they are. Raises ApiError InvalidArgument."""
    if call.decision.principal.account is None:
        raise argument_error(
            ENCRYPTION,
            EncryptionKind.SSE_KMS.value,
            "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS "
            "Signature Version 4.",
        )


def _is_private(call: Call) -> bool:
    return call.request.secure or call.services.takes_customer_keys_in_clear
