"""Performs operations on a node over HTTP, and looks at what is there, as a client can.

The counterpart of `rs3gwd.testing.target` for a node in a process of its own. What a client cannot
know (the millisecond of a version) is left out of its views; `visible` leaves the same out of a
view of the model, so that both can be compared.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes, urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import msgspec
from msgspec import Struct

from rs3gwd.base.records import NULL_VERSION_ID, Durability, Versioning
from rs3gwd.testing import scenario as s
from rs3gwd.testing.http_client import Answer, ConnectionLost, HttpClient

UNKNOWN_ID = "0" * 32
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class UnexpectedAnswer(Exception):
    """The node said something that no correct node says here."""


class _Listed(Struct, frozen=True):
    key: bytes
    version_id: str
    delete_marker: bool
    is_latest: bool
    size_bytes: int
    etag: str


class HttpTarget:
    """Operations through one client; ids are learnt from answers."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._names: dict[str, str] = {}
        self._ids: dict[str, str] = {}

    def learn(self, name: str, actual_id: str) -> None:
        """From now on `actual_id` is what the node calls `name`."""
        if actual_id != NULL_VERSION_ID:
            self._ids[name] = actual_id
            self._names[actual_id] = name

    def name_of(self, actual_id: str) -> str:
        """The name of an id; one that is not known is shown as it is."""
        if actual_id == NULL_VERSION_ID:
            return actual_id
        return self._names.get(actual_id, actual_id)

    def is_unknown(self, name: str) -> bool:
        """Whether `name`, from a view, is an id that was never learnt."""
        return name != NULL_VERSION_ID and name not in self._ids

    async def perform(self, operation: s.AnyOperation) -> s.Outcome:
        """Does it; a refusal by its S3 code is an outcome.

        Raises ConnectionLost (nobody knows whether it took place), UnexpectedAnswer.
        """
        match operation:
            case s.MakeBucket():
                headers = {}
                if operation.durability is not Durability.STRICT:
                    headers["x-rs3gw-durability"] = operation.durability.value
                return self._done(
                    await self._client.request("PUT", _path(operation.bucket), headers=headers)
                )
            case s.SetVersioning():
                return await self._set_versioning(operation)
            case s.Put():
                return await self._put(operation)
            case s.AbandonedPut():
                return await self._abandon(operation)
            case s.Copy():
                return await self._copy(operation)
            case s.Delete():
                return await self._delete(operation)
            case s.Tag():
                return await self._tag(operation)
            case s.Begin() | s.Part() | s.Complete() | s.Abort():
                return await self._upload_step(operation)
        raise AssertionError(f"{operation} has no request")

    async def _set_versioning(self, operation: s.SetVersioning) -> s.Outcome:
        assert operation.versioning is not Versioning.UNVERSIONED
        status = f"<Status>{operation.versioning}</Status>"
        body = f"<VersioningConfiguration>{status}</VersioningConfiguration>"
        return self._done(
            await self._client.request(
                "PUT", _path(operation.bucket), [("versioning", "")], body=body.encode()
            )
        )

    async def _put(self, operation: s.Put) -> s.Outcome:
        headers = {f"x-amz-meta-{name}": value for name, value in operation.metadata.items()}
        if operation.tags:
            headers["x-amz-tagging"] = urlencode(operation.tags)
        conditions = operation.conditions
        if conditions.if_match is not None:
            headers["if-match"] = _quoted(conditions.if_match)
        if conditions.if_none_match is not None:
            headers["if-none-match"] = _quoted(conditions.if_none_match)
        answer = await self._client.request(
            "PUT", _path(operation.bucket, operation.key), headers=headers, body=operation.body.data
        )
        if answer.status == 200 and answer.headers.get("etag") != f'"{operation.body.etag}"':
            raise UnexpectedAnswer(f"{operation}: {answer.headers}")
        return self._made(answer, operation.name)

    async def _abandon(self, operation: s.AbandonedPut) -> s.Outcome:
        data = operation.body.data
        if data:
            try:
                await self._client.request(
                    "PUT",
                    _path(operation.bucket, operation.key),
                    body=data,
                    body_sent=len(data) // 2,
                )
            except ConnectionLost:
                return s.Outcome()
        return s.Outcome()

    async def _copy(self, operation: s.Copy) -> s.Outcome:
        source = quote(_path(operation.source_bucket, operation.source_key))
        if operation.source_version is not None:
            source += f"?versionId={self._id_of(operation.source_version)}"
        answer = await self._client.request(
            "PUT",
            _path(operation.bucket, operation.key),
            headers={"x-amz-copy-source": source},
        )
        return self._made(answer, operation.name)

    async def _delete(self, operation: s.Delete) -> s.Outcome:
        query = []
        if operation.version is not None:
            query.append(("versionId", self._id_of(operation.version)))
        answer = await self._client.request("DELETE", _path(operation.bucket, operation.key), query)
        name = None if operation.version is not None else operation.name
        return self._made(answer, name, expected=204)

    async def _tag(self, operation: s.Tag) -> s.Outcome:
        query = [("tagging", "")]
        if operation.version is not None:
            query.append(("versionId", self._id_of(operation.version)))
        rows = "".join(
            f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>"
            for name, value in operation.tags
        )
        body = f"<Tagging><TagSet>{rows}</TagSet></Tagging>".encode()
        answer = await self._client.request(
            "PUT", _path(operation.bucket, operation.key), query, headers=_md5(body), body=body
        )
        return self._made(answer, None)

    async def _upload_step(self, operation: s.Begin | s.Part | s.Complete | s.Abort) -> s.Outcome:
        path = _path(operation.bucket, operation.key)
        if isinstance(operation, s.Begin):
            answer = await self._client.request("POST", path, [("uploads", "")])
            if answer.status == 200:
                self.learn(operation.name, _upload_id(answer))
                return s.Outcome(made=operation.name)
            return self._done(answer)
        query = [("uploadId", self._id_of(operation.upload))]
        if isinstance(operation, s.Part):
            query.append(("partNumber", str(operation.number)))
            return self._done(
                await self._client.request("PUT", path, query, body=operation.body.data)
            )
        if isinstance(operation, s.Abort):
            return self._done(await self._client.request("DELETE", path, query), expected=204)
        rows = "".join(
            f'<Part><PartNumber>{claim.number}</PartNumber><ETag>"{claim.body.etag}"</ETag></Part>'
            for claim in operation.parts
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        answer = await self._client.request("POST", path, query, body=body)
        return self._made(answer, operation.name)

    def _id_of(self, name: str) -> str:
        return name if name == NULL_VERSION_ID else self._ids.get(name, UNKNOWN_ID)

    def _done(self, answer: Answer, *, expected: int = 200) -> s.Outcome:
        if answer.status == expected:
            return s.Outcome()
        if answer.status >= 500:
            raise UnexpectedAnswer(f"{answer.status} {answer.body!r}")
        return s.Outcome(error=_text(_parse(answer), "Code"))

    def _made(self, answer: Answer, name: str | None, *, expected: int = 200) -> s.Outcome:
        if answer.status != expected:
            return self._done(answer, expected=expected)
        actual_id = answer.headers.get("x-amz-version-id", NULL_VERSION_ID)
        if name is not None:
            self.learn(name, actual_id)
        return s.Outcome(made=self.name_of(actual_id))

    async def view(self, buckets: tuple[str, ...], *, prefix: bytes) -> s.View:
        """All versions with their bytes and all uploads with their parts below a prefix.

        Raises ConnectionLost, UnexpectedAnswer.
        """
        versions: dict[str, dict[str, list[s.VersionView]]] = {}
        uploads: dict[str, dict[str, list[s.UploadView]]] = {}
        for bucket in buckets:
            of_keys = versions[bucket] = {}
            for listed in await self._list_versions(bucket, prefix):
                shown = await self._view_version(bucket, listed)
                of_keys.setdefault(listed.key.decode("latin-1"), []).append(shown)
            uploads[bucket] = await self._view_uploads(bucket, prefix)
        return s.View(versions=versions, uploads=uploads)

    async def _list_versions(self, bucket: str, prefix: bytes) -> list[_Listed]:
        query = [("versions", ""), ("prefix", prefix.decode()), ("encoding-type", "url")]
        root = _parse(await self._expect("GET", _path(bucket), query))
        assert _text(root, "IsTruncated") == "false", "a lane has few versions"
        found = []
        for element in root:
            tag = element.tag.removeprefix(_NAMESPACE)
            if tag not in ("Version", "DeleteMarker"):
                continue
            is_marker = tag == "DeleteMarker"
            found.append(
                _Listed(
                    key=unquote_to_bytes(_text(element, "Key").replace("+", " ")),
                    version_id=_text(element, "VersionId"),
                    delete_marker=is_marker,
                    is_latest=_text(element, "IsLatest") == "true",
                    size_bytes=0 if is_marker else int(_text(element, "Size")),
                    etag="" if is_marker else _text(element, "ETag").strip('"'),
                )
            )
        return found

    async def _view_version(self, bucket: str, listed: _Listed) -> s.VersionView:
        tags: list[tuple[str, str]] = []
        metadata: dict[str, str] = {}
        digest = None
        if not listed.delete_marker:
            query = [("versionId", listed.version_id)]
            path = _path(bucket, listed.key)
            answer = await self._expect("GET", path, query)
            digest = s.digest_of(answer.body)
            if answer.headers.get("etag") != f'"{listed.etag}"':
                raise UnexpectedAnswer(f"{path!r} is listed with {listed.etag}: {answer.headers}")
            metadata = {
                name.removeprefix("x-amz-meta-"): value
                for name, value in answer.headers.items()
                if name.startswith("x-amz-meta-")
            }
            if "x-amz-tagging-count" in answer.headers:
                root = _parse(await self._expect("GET", path, [("tagging", ""), *query]))
                tags = [
                    (_text(tag, "Key"), _text(tag, "Value"))
                    for tag in root.iter(f"{_NAMESPACE}Tag")
                ]
        return s.VersionView(
            name=self.name_of(listed.version_id),
            delete_marker=listed.delete_marker,
            is_latest=listed.is_latest,
            size_bytes=listed.size_bytes,
            etag=listed.etag,
            tags=tags,
            metadata=metadata,
            digest=digest,
        )

    async def _view_uploads(self, bucket: str, prefix: bytes) -> dict[str, list[s.UploadView]]:
        query = [("uploads", ""), ("prefix", prefix.decode()), ("encoding-type", "url")]
        root = _parse(await self._expect("GET", _path(bucket), query))
        found: dict[str, list[s.UploadView]] = {}
        for element in root.findall(f"{_NAMESPACE}Upload"):
            key = unquote_to_bytes(_text(element, "Key").replace("+", " "))
            upload_id = _text(element, "UploadId")
            answer = await self._expect("GET", _path(bucket, key), [("uploadId", upload_id)])
            parts = [
                s.PartView(
                    number=int(_text(part, "PartNumber")),
                    size_bytes=int(_text(part, "Size")),
                    etag=_text(part, "ETag").strip('"'),
                    checksum=None,
                    last_modified_ms=None,
                )
                for part in _parse(answer).findall(f"{_NAMESPACE}Part")
            ]
            shown = s.UploadView(self.name_of(upload_id), parts)
            found.setdefault(key.decode("latin-1"), []).append(shown)
        return found

    async def _expect(self, method: str, path: bytes, query: list[tuple[str, str]]) -> Answer:
        answer = await self._client.request(method, path, query)
        if answer.status != 200:
            raise UnexpectedAnswer(f"{method} {path!r} {query}: {answer.status} {answer.body!r}")
        return answer


def visible(view: s.View) -> s.View:
    """A view of the model with nothing in it but what a client can see."""
    return s.View(
        versions={
            bucket: {key: [_visible_version(each) for each in rows] for key, rows in keys.items()}
            for bucket, keys in view.versions.items()
        },
        uploads={
            bucket: {key: [_visible_upload(each) for each in rows] for key, rows in keys.items()}
            for bucket, keys in view.uploads.items()
        },
    )


def _visible_version(version: s.VersionView) -> s.VersionView:
    return msgspec.structs.replace(version, checksum=None, part_count=None, last_modified_ms=None)


def _visible_upload(upload: s.UploadView) -> s.UploadView:
    parts = [
        msgspec.structs.replace(part, checksum=None, last_modified_ms=None) for part in upload.parts
    ]
    return s.UploadView(upload.name, parts)


def _path(bucket: str, key: bytes | None = None) -> bytes:
    return f"/{bucket}".encode() if key is None else f"/{bucket}/".encode() + key


def _quoted(etag: str) -> str:
    return etag if etag == "*" else f'"{etag}"'


def _md5(body: bytes) -> dict[str, str]:
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return {"content-md5": base64.b64encode(digest).decode()}


def _upload_id(answer: Answer) -> str:
    """Not by a parser: the answer repeats the key, and not every key can be said in XML 1.0."""
    found = re.search(rb"<UploadId>([^<]+)</UploadId>", answer.body)
    if found is None:
        raise UnexpectedAnswer(f"no upload id: {answer.body!r}")
    return found[1].decode()


def _parse(answer: Answer) -> ElementTree.Element:
    try:
        # XML 1.0 cannot say NUL; S3 says it all the same, in answers that repeat a key as it is.
        return ElementTree.fromstring(answer.body.replace(b"&#x0;", b"?"))
    except ElementTree.ParseError as error:
        raise UnexpectedAnswer(f"{answer.status}: no XML: {answer.body!r}") from error


def _text(element: ElementTree.Element, name: str) -> str:
    for found in _named(element, name):
        return found.text or ""
    raise UnexpectedAnswer(f"no {name} in {ElementTree.tostring(element)!r}")


def _named(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Errors have no namespace, everything else has S3's."""
    yield from element.findall(f"{_NAMESPACE}{name}")
    yield from element.findall(name)
