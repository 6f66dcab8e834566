"""What a handler gets: one authenticated, authorised request, and the world it may use."""

from msgspec import Struct, field

from rs3gwd.base.encryption import ObjectKeys
from rs3gwd.base.http import Request
from rs3gwd.base.memory import MemoryPool
from rs3gwd.base.new_buckets import NewBuckets
from rs3gwd.base.ports import Clock, Directory, ObjectStore, Random, Sessions, Threads
from rs3gwd.base.records import BucketRecord, Durability, EncryptionKind
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.base.web_documents import WebDocuments
from rs3gwd.iam.brake import Brake
from rs3gwd.iam.bucket_access import AccessCache, BucketAccess
from rs3gwd.iam.gate import Gate
from rs3gwd.iam.identities.permissions import PermissionCache
from rs3gwd.iam.key_uses import KeyUses
from rs3gwd.iam.payload import PayloadPlan
from rs3gwd.iam.principal import Decision

_MEMORY_BYTES_MAX = 256 << 20


class Services(Struct, frozen=True):
    """The ports behind the S3 surface and the settings it needs, joined by the daemon.

    `durability_default` is the class of a bucket made without naming one. `host_id` is what the
    front says in x-amz-id-2, and error documents in HostId. `memory` is the pool from which
    documents and signed chunks of unusual size take. `new_buckets` is what a bucket gets that is
    made without saying; `access` keeps what buckets say about who may use them, `permissions` what
    users may do by their own policies. `keys` are those of encrypted objects, None where the node
    has none; `default_encryption` is what buckets without a rule of their own get, None for
    nothing. `takes_customer_keys_in_clear`: SSE-C needs no TLS. `sessions` are how requests
    begin where look-ups must be proved to be current, None where they always are.
    `secrets` keeps the secrets of access keys and the tokens of sessions; None where there are no
    sessions and no secret is wrapped. `web_documents` fetches the keys of identity providers; None
    where nobody is asked. `brake` slows whoever fails to prove who they are,
    `uses` notes when keys are used.
    """

    store: ObjectStore
    directory: Directory
    clock: Clock
    random: Random
    threads: Threads
    region: str
    virtual_host_domains: tuple[str, ...] = ()
    website_domains: tuple[str, ...] = ()
    presigned_v2_methods: frozenset[str] = frozenset({"GET", "HEAD"})
    durability_default: Durability = Durability.STRICT
    host_id: str = ""
    new_buckets: NewBuckets = NewBuckets.AWS_2023
    access: AccessCache = field(default_factory=AccessCache)
    permissions: PermissionCache = field(default_factory=PermissionCache)
    memory: MemoryPool = field(default_factory=lambda: MemoryPool(_MEMORY_BYTES_MAX))
    keys: ObjectKeys | None = None
    default_encryption: EncryptionKind | None = None
    takes_customer_keys_in_clear: bool = False
    sessions: Sessions | None = None
    secrets: SecretWrapper | None = None
    web_documents: WebDocuments | None = None
    brake: Brake = field(default_factory=Brake)
    uses: KeyUses | None = None


class Call(Struct, frozen=True):
    """One call of an operation.

    `bucket` is empty at service level and `key` is empty at bucket level. `query` maps decoded
    names to decoded values (the first of a repeated one). The decision cannot be made by a handler.
    `bucket_record` is the bucket as it was when the request was authorised, and `access` what it
    said then about who may use it; None at service level and for CreateBucket. `gate` decides on
    whatever the operation needs beside the decision.
    """

    request: Request
    operation: str
    bucket: str
    key: bytes
    query: dict[str, str]
    payload: PayloadPlan
    decision: Decision
    gate: Gate
    services: Services
    bucket_record: BucketRecord | None = None
    access: BucketAccess | None = None
