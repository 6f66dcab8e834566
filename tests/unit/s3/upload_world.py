"""A multipart upload by what its client would do, for the tests of the handlers."""

import hashlib

from object_world import World, headers_of, text_in, xml_of

from rs3gwd.base.limits import PART_BYTES_MIN
from rs3gwd.base.records import ChecksumAlgorithm
from rs3gwd.s3.checksums import encode_digest
from rs3gwd.s3.complete_upload import complete_multipart_upload
from rs3gwd.s3.hashing import new_digest
from rs3gwd.s3.multipart import create_multipart_upload, upload_part

BIG = hashlib.shake_128(b"big").digest(PART_BYTES_MIN)
SMALL = b"the last part"


def value_of(name: str, data: bytes) -> str:
    """A checksum in base64."""
    digest = new_digest(ChecksumAlgorithm(name))
    digest.update(data)
    return encode_digest(digest.digest())


def md5_hex(data: bytes) -> str:
    """An ETag of a part."""
    return hashlib.md5(data).hexdigest()


class Upload:
    """One upload of `key`, by what its client would do."""

    def __init__(self, world: World, upload_id: str) -> None:
        self.world = world
        self.upload_id = upload_id

    @classmethod
    async def start(cls, world: World, **headers: str) -> "Upload":
        """CreateMultipartUpload."""
        all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await world.run(create_multipart_upload, headers=all_headers, method="POST")
        upload_id = text_in(xml_of(response.body), "UploadId")
        assert upload_id
        return cls(world, upload_id)

    def query(self, **more: str) -> dict[str, str]:
        """The query of a request about this upload."""
        return {"uploadId": self.upload_id, **more}

    async def put(self, number: int, data: bytes, **headers: str) -> dict[str, str]:
        """UploadPart; the headers of the answer."""
        all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        query = self.query(partNumber=str(number))
        response = await self.world.run(upload_part, query=query, body=data, headers=all_headers)
        assert response.status == 200
        return headers_of(response)

    async def complete(self, *parts: str, **headers: str) -> object:
        """CompleteMultipartUpload; the parts are the insides of Part elements."""
        all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        inside = "".join(f"<Part>{part}</Part>" for part in parts)
        document = f"<CompleteMultipartUpload>{inside}</CompleteMultipartUpload>".encode()
        return await self.world.run(
            complete_multipart_upload,
            query=self.query(),
            body=document,
            headers=all_headers,
            method="POST",
        )


def part(number: int, data: bytes, **checksums: str) -> str:
    """The inside of a Part element."""
    extra = "".join(
        f"<Checksum{name}>{value}</Checksum{name}>" for name, value in checksums.items()
    )
    return f'<PartNumber>{number}</PartNumber><ETag>"{md5_hex(data)}"</ETag>{extra}'
