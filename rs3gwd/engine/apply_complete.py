"""CompleteUpload: an upload becomes a version, its parts become the version's manifest.

The object is dated with the time of the completion. S3 documents the time of initiation, with
which a cache that holds an older version, written between the two, would be told that nothing has
changed.

Source: Amazon S3 API Reference, CompleteMultipartUpload.
"""

from __future__ import annotations

from rs3gwd.base.commands import CompleteUpload
from rs3gwd.base.errors import InvalidPart
from rs3gwd.base.records import VersionKind, VersionRecord
from rs3gwd.engine import uploads
from rs3gwd.engine.apply_objects import install, new_version_id
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.apply_uploads import no_such_upload
from rs3gwd.engine.conditions import check_conditions
from rs3gwd.engine.locks import locked_attributes
from rs3gwd.engine.multipart import assemble, multipart_etag
from rs3gwd.engine.tables import MANIFEST_CODEC, Table, u64
from rs3gwd.engine.versions import KeyVersions


def complete_upload(state: ApplyState, command: CompleteUpload) -> VersionRecord:
    """Makes the object; a repeat with the same parts gives the kept result again."""
    bucket = state.bucket(command.bucket)
    upload = uploads.find_upload(state.txn, bucket.bucket_id, command.key, command.upload_id)
    if upload is None:
        return _kept_result(state, command, bucket.bucket_id)
    stored = {part.number: part for part in uploads.iterate_parts(state.txn, upload.seq)}
    assembly = assemble(
        command.parts,
        stored,
        algorithm=upload.checksum_algorithm,
        checksum_type=upload.checksum_type,
        expected=command.checksum,
        expected_size_bytes=command.object_size,
    )
    versions = KeyVersions(state.txn, bucket.bucket_id, command.key)
    live = versions.live()
    check_conditions(command.conditions, live)
    attributes = locked_attributes(bucket, upload.attributes, command.now_ms)
    seq = state.next_seq()
    manifest_id = state.next_node_id()
    record = VersionRecord(
        kind=VersionKind.OBJECT,
        version_id=new_version_id(bucket, seq, command.nonce),
        seq=seq,
        last_modified_ms=command.now_ms,
        size_bytes=assembly.size_bytes,
        etag=assembly.etag,
        attributes=attributes,
        checksum=assembly.checksum,
        manifest_id=manifest_id,
        part_count=assembly.part_count,
    )
    row = u64(manifest_id)
    state.txn.put(Table.MANIFESTS, row, MANIFEST_CODEC.seal(row, assembly.manifest))
    install(state, bucket, versions, live, record)
    uploads.complete_upload_rows(state.txn, bucket.bucket_id, command.key, upload, record)
    for part in command.parts:
        del stored[part.number]
    for left_out in stored.values():
        state.free_blob(left_out.blob)
    return record


def _kept_result(state: ApplyState, command: CompleteUpload, bucket_id: int) -> VersionRecord:
    """The result of an earlier Complete with the same parts: the ETag tells whether they are."""
    kept = uploads.find_completed(state.txn, bucket_id, command.key, command.upload_id)
    if kept is None:
        raise no_such_upload()
    try:
        etag = multipart_etag([part.etag for part in command.parts])
    except InvalidPart as error:
        raise no_such_upload() from error
    if etag != kept.etag:
        raise no_such_upload()
    return kept
