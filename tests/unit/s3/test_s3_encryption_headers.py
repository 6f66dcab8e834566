"""Headers of server-side encryption, as AWS takes and refuses them."""

import base64

import pytest
from encryption_world import CUSTOMER, KMS, ONE, S3, SOURCE_CUSTOMER, customer

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import EncryptionKind, EncryptionRecord
from rs3gwd.s3.encryption_headers import (
    customer_key_in,
    encryption_headers,
    refuse_unknown,
    refuse_wish,
    wish_in,
)

PREFIX = "x-amz-server-side-encryption"
CONTEXT = base64.b64encode(b'{"a":"b"}').decode()


def refused(headers: dict[str, str], *, private: bool = True) -> str:
    with pytest.raises(ApiError) as caught:
        wish_in(headers, private=private)
    assert base64.b64encode(ONE).decode() not in f"{caught.value} {caught.value.fields}"
    return caught.value.api_code


def test_nothing_asks_for_nothing() -> None:
    """Without a header there is no wish; a bucket key alone speaks of the bucket's default."""
    assert wish_in({}, private=False) is None
    assert wish_in({f"{PREFIX}-bucket-key-enabled": "true"}, private=False) is None


def test_each_kind_is_read() -> None:
    """AES256, aws:kms with all that belongs to it, and a key of the caller's own."""
    plain = wish_in(S3, private=False)
    assert plain is not None
    assert plain.kind is EncryptionKind.SSE_S3
    managed = wish_in(
        {
            **KMS,
            f"{PREFIX}-aws-kms-key-id": "alias/a",
            f"{PREFIX}-context": CONTEXT,
            f"{PREFIX}-bucket-key-enabled": "True",
        },
        private=False,
    )
    assert managed is not None
    assert (managed.kind, managed.key_id, managed.context, managed.bucket_key) == (
        EncryptionKind.SSE_KMS,
        "alias/a",
        '{"a":"b"}',
        True,
    )
    own = wish_in(customer(), private=True)
    assert own is not None
    assert own.kind is EncryptionKind.SSE_C
    assert own.customer_key is not None
    assert own.customer_key.key == ONE
    assert base64.b64encode(ONE).decode() not in repr(own)
    assert repr(ONE) not in repr(own)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({PREFIX: "aes256"}, "InvalidEncryptionAlgorithmError"),
        ({PREFIX: ""}, "InvalidEncryptionAlgorithmError"),
        ({PREFIX: "aws:kms:dsse"}, "NotImplemented"),
        ({f"{PREFIX}-aws-kms-key-id": "k"}, "InvalidArgument"),
        ({**S3, f"{PREFIX}-aws-kms-key-id": "k"}, "InvalidArgument"),
        ({**S3, f"{PREFIX}-context": CONTEXT}, "InvalidArgument"),
        ({**KMS, f"{PREFIX}-context": "{}"}, "InvalidArgument"),
        ({**KMS, f"{PREFIX}-context": base64.b64encode(b'{"a":1}').decode()}, "InvalidArgument"),
        ({**KMS, f"{PREFIX}-bucket-key-enabled": "yes"}, "InvalidArgument"),
        ({**KMS, f"{PREFIX}-aws-kms-key-id": "k" * 3000}, "InvalidArgument"),
        ({**customer(), **S3}, "InvalidArgument"),
        ({**customer(), **KMS}, "InvalidArgument"),
        ({**customer(), f"{CUSTOMER}algorithm": "aws:kms"}, "InvalidArgument"),
        ({**customer(), f"{CUSTOMER}key-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}, "InvalidArgument"),
        ({**customer(), f"{CUSTOMER}key": "?"}, "InvalidArgument"),
        (customer(b"short"), "InvalidArgument"),
    ],
)
def test_what_makes_no_sense_is_refused(headers: dict[str, str], code: str) -> None:
    """Half a wish, two wishes and unknown ones."""
    assert refused(headers) == code


@pytest.mark.parametrize("missing", ["algorithm", "key", "key-md5"])
def test_a_customer_key_needs_all_three_headers(missing: str) -> None:
    """In requests and for the source of a copy."""
    for prefix in (CUSTOMER, SOURCE_CUSTOMER):
        headers = customer(prefix=prefix)
        del headers[prefix + missing]
        with pytest.raises(ApiError) as caught:
            customer_key_in(headers, private=True, prefix=prefix)
        assert caught.value.api_code == "InvalidArgument"


def test_a_customer_key_does_not_travel_in_clear() -> None:
    """Over plain HTTP it is refused before anything is looked at."""
    assert refused(customer(), private=False) == "InvalidRequest"
    with pytest.raises(ApiError):
        customer_key_in({f"{CUSTOMER}algorithm": "AES256"}, private=False)


def test_reads_take_no_wish_and_nobody_an_unknown_header() -> None:
    """What would be overlooked is refused."""
    for name in (PREFIX, f"{PREFIX}-aws-kms-key-id", f"{PREFIX}-bucket-key-enabled"):
        with pytest.raises(ApiError):
            refuse_wish({name: "AES256"})
    refuse_wish(customer())
    refuse_unknown({**customer(), **KMS, "x-amz-meta-a": "b"})
    with pytest.raises(ApiError) as caught:
        refuse_unknown({f"{PREFIX}-unheard-of": "1"})
    assert caught.value.api_code == "NotImplemented"


def test_answers_say_what_was_done() -> None:
    """By kind; the context only to who wrote."""
    assert encryption_headers(None) == []
    plain = EncryptionRecord(EncryptionKind.SSE_S3, "c", b"k")
    assert encryption_headers(plain) == [(PREFIX, "AES256")]
    managed = EncryptionRecord(
        EncryptionKind.SSE_KMS, "c", b"k", "arn", '{"a":"b"}', bucket_key=True
    )
    shown = [
        (PREFIX, "aws:kms"),
        (f"{PREFIX}-aws-kms-key-id", "arn"),
        (f"{PREFIX}-bucket-key-enabled", "true"),
    ]
    assert encryption_headers(managed) == shown
    with_context = encryption_headers(managed, with_context=True)
    assert (f"{PREFIX}-context", CONTEXT) in with_context
    own = EncryptionRecord(EncryptionKind.SSE_C, "c", b"k", customer_key_md5="md5")
    assert encryption_headers(own) == [
        (f"{CUSTOMER}algorithm", "AES256"),
        (f"{CUSTOMER}key-MD5", "md5"),
    ]
