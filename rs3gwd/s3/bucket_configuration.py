"""How handlers change a document of a bucket's configuration."""

from rs3gwd.base.commands import PutBucketConfiguration
from rs3gwd.base.records import BucketRecord
from rs3gwd.s3.call import Call


async def put_document(call: Call, kind: str, document: bytes | None) -> BucketRecord:
    """Sets the document of this kind, or removes it with None; the bucket as it is then.

    Raises NoSuchBucket, DiskFull, DiskFailed, Overloaded.
    """
    record = await call.services.store.submit(
        PutBucketConfiguration(
            name=call.bucket,
            kind=kind,
            document=document,
            now_ms=call.services.clock.now_ms(),
        )
    )
    assert isinstance(record, BucketRecord)
    return record
