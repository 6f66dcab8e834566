"""The options of rs3gwd: the one table from which everything about them follows.

To add an option, add a field here, run `python -m rs3gwd.config.generate`, and read the field
somewhere: an option that nobody reads is a lie to whoever sets it.

Names and meanings are those of rs3gw where they fit; its limits of 0 for "unlimited" are not taken
over, since here every queue and buffer has a bound. Byte sizes and times are whole numbers and
carry their unit in the name, bounds end in `_max` or `_min`.
"""

from enum import StrEnum
from typing import Annotated

from rs3gwd.base.new_buckets import NewBuckets
from rs3gwd.base.records import Durability
from rs3gwd.config.cluster_options import ADDRESS, ClusterOptions
from rs3gwd.config.option import AUTO, Spec, Topic

_DOMAIN = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class PresignedV2(StrEnum):
    """Which presigned requests may carry the old query signature (SigV2)."""

    GET_HEAD = "get-head"
    ALL = "all"
    OFF = "off"


class DefaultEncryption(StrEnum):
    """How objects are encrypted whose writer and bucket do not say."""

    NONE = "none"
    AES256 = "AES256"


class MasterKeySource(StrEnum):
    """Where the master key of the keyring is; AUTO is a file that is made at the first start."""

    AUTO = "auto"
    FILE = "file"
    ENVIRONMENT = "environment"
    CREDENTIAL = "credential"
    VAULT = "vault"


class EncryptionAlgorithm(StrEnum):
    """What new objects and keys are encrypted with."""

    AES256_GCM = "AES256-GCM"
    CHACHA20_POLY1305 = "ChaCha20-Poly1305"


class LogLevel(StrEnum):
    """The least severe messages that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line looks; AUTO is console on a terminal and json elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class Config(ClusterOptions, frozen=True, kw_only=True):
    """The settings of one daemon, complete and checked; made by `rs3gwd.config.load`."""

    bind_addr: Annotated[
        tuple[str, ...],
        Spec(
            Topic.LISTEN,
            "RS3GW_BIND_ADDR",
            "Addresses to listen on; S3, metrics and health share each of them. Port 0 takes a "
            "free port, an empty host all interfaces.",
            pattern=ADDRESS,
            shape="host:port, [IPv6 address]:port or :port",
        ),
    ] = ("127.0.0.1:9000",)
    tls_cert_path: Annotated[
        str,
        Spec(
            Topic.LISTEN,
            "RS3GW_TLS_CERT",
            "Certificate chain in PEM. With tls.key_path it turns TLS on for every address.",
            shape="a path",
            key="tls.cert_path",
        ),
    ] = ""
    tls_key_path: Annotated[
        str,
        Spec(
            Topic.LISTEN,
            "RS3GW_TLS_KEY",
            "Private key of the certificate in PEM, without a passphrase.",
            shape="a path",
            key="tls.key_path",
        ),
    ] = ""
    virtual_host_domains: Annotated[
        tuple[str, ...],
        Spec(
            Topic.LISTEN,
            "RS3GW_VIRTUAL_HOST_DOMAINS",
            "Domains below which the first labels of Host name the bucket: with `s3.example.org`, "
            "`photos.s3.example.org` is the bucket photos. Path-style requests always work.",
            pattern=_DOMAIN,
            shape="lower-case domain names",
        ),
    ] = ()
    website_domains: Annotated[
        tuple[str, ...],
        Spec(
            Topic.LISTEN,
            "RS3GW_WEBSITE_DOMAINS",
            "Domains below which the first labels of Host name a bucket that is served as a static "
            "website: with `web.example.org`, `http://photos.web.example.org/` is the website of "
            "the bucket photos, for readers without a signature.",
            pattern=_DOMAIN,
            shape="lower-case domain names",
        ),
    ] = ()

    workers: Annotated[
        int,
        Spec(
            Topic.PROCESSES,
            "RS3GW_WORKERS",
            "Frontend processes, which share the addresses; they parse, authenticate and move "
            "bytes, each on a core of its own where there are enough.",
            unit="processes",
            most=256,
            zero="everything in one process",
            auto="one for each core that it may run on",
        ),
    ] = AUTO
    worker_patience_secs: Annotated[
        int,
        Spec(
            Topic.PROCESSES,
            "RS3GW_WORKER_PATIENCE",
            "Time for which a worker may give no sign of life, which it does every second, before "
            "it is killed and replaced. A machine under full load can keep one waiting for "
            "seconds.",
            unit="seconds",
            least=2,
            most=3600,
        ),
    ] = 10

    max_connections: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_MAX_CONNECTIONS",
            "Connections open at once; one more is closed at once. Each worker has an equal share "
            "of this bound and of the next two.",
            unit="connections",
            least=1,
            most=1_000_000,
        ),
    ] = 4096
    max_concurrent_requests: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_MAX_CONCURRENT",
            "Requests being worked on at once; one more is answered 503 SlowDown.",
            unit="requests",
            least=1,
            most=1_000_000,
        ),
    ] = 1024
    buffered_bytes_max: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_BUFFERED_BYTES_MAX",
            "Bytes of request and response bodies held in memory by all requests together; a "
            "request that would need more is answered 503 SlowDown.",
            unit="bytes",
            least=16 * MIB,
            most=1024 * GIB,
        ),
    ] = 256 * MIB
    request_line_bytes_max: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_REQUEST_LINE_BYTES_MAX",
            "Length of a request line. A key of 1,024 bytes takes 3,072 when percent-encoded, a "
            "presigned query with a session token about 2,000 more.",
            unit="bytes",
            least=4 * KIB,
            most=1 * MIB,
        ),
    ] = 16 * KIB
    header_bytes_max: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_HEADER_BYTES_MAX",
            "Length of all header lines of a request together; AWS allows 8 KiB.",
            unit="bytes",
            least=8 * KIB,
            most=1 * MIB,
        ),
    ] = 32 * KIB
    header_count_max: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_HEADER_COUNT_MAX",
            "Header lines of a request.",
            unit="headers",
            least=32,
            most=10_000,
        ),
    ] = 100
    header_timeout_secs: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_HEADER_TIMEOUT",
            "Time for a request's line and headers to arrive, from their first byte.",
            unit="seconds",
            least=1,
            most=3600,
        ),
    ] = 10
    idle_timeout_secs: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_IDLE_TIMEOUT",
            "Time a connection may stay open between two requests.",
            unit="seconds",
            least=1,
            most=86_400,
        ),
    ] = 60
    body_bytes_per_second_min: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_BODY_BYTES_PER_SECOND_MIN",
            "The slowest pace at which a client may send a body or take one, after the grace time; "
            "a slower one is cut off.",
            unit="bytes per second",
            most=1 * GIB,
            zero="no limit",
        ),
    ] = 1024
    body_grace_secs: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_BODY_GRACE",
            "Time for which a body may be slower than body_bytes_per_second_min.",
            unit="seconds",
            least=1,
            most=3600,
        ),
    ] = 20
    shutdown_grace_secs: Annotated[
        int,
        Spec(
            Topic.LIMITS,
            "RS3GW_SHUTDOWN_GRACE",
            "Time that requests in progress have to finish after SIGTERM or SIGINT.",
            unit="seconds",
            least=0,
            most=3600,
            zero="cut them at once",
        ),
    ] = 30

    storage_root: Annotated[
        str,
        Spec(
            Topic.STORAGE,
            "RS3GW_STORAGE_ROOT",
            "Directory of all data; made when missing, for one daemon alone.",
            pattern=".+",
            shape="a path",
        ),
    ] = "./data"
    durability_default: Annotated[
        Durability,
        Spec(
            Topic.STORAGE,
            "RS3GW_DURABILITY_DEFAULT",
            "What a 2xx on a write means in a new bucket. strict: synced to stable storage. "
            "relaxed: synced within a second. ephemeral: never synced on purpose.",
        ),
    ] = Durability.STRICT
    segment_bytes: Annotated[
        int,
        Spec(
            Topic.STORAGE,
            "RS3GW_SEGMENT_BYTES",
            "Size at which a segment file is sealed and the next one begun.",
            unit="bytes",
            least=1 * MIB,
            most=64 * GIB,
        ),
    ] = 256 * MIB
    segment_preallocate_bytes: Annotated[
        int,
        Spec(
            Topic.STORAGE,
            "RS3GW_SEGMENT_PREALLOCATE_BYTES",
            "Blocks reserved ahead of the end of the segment being written: a sync of a growing "
            "file costs more than twice as much.",
            unit="bytes",
            most=64 * GIB,
            zero="none",
        ),
    ] = 64 * MIB
    free_bytes_reserve: Annotated[
        int,
        Spec(
            Topic.STORAGE,
            "RS3GW_FREE_BYTES_RESERVE",
            "Free space on the file system below which writes are refused, so that deletes and "
            "compaction can still work.",
            unit="bytes",
            least=16 * MIB,
            most=1024 * GIB,
        ),
    ] = 256 * MIB
    compaction_dead_percent: Annotated[
        int,
        Spec(
            Topic.STORAGE,
            "RS3GW_COMPACTION_DEAD_PERCENT",
            "Share of a sealed segment that must be deleted bytes before it is compacted.",
            unit="percent",
            least=1,
            most=99,
        ),
    ] = 50
    compaction_interval_secs: Annotated[
        int,
        Spec(
            Topic.STORAGE,
            "RS3GW_COMPACTION_INTERVAL",
            "Time between two looks for segments worth compacting.",
            unit="seconds",
            least=1,
            most=86_400,
        ),
    ] = 60
    multipart_retention_hours: Annotated[
        int,
        Spec(
            Topic.STORAGE,
            "RS3GW_MULTIPART_RETENTION_HOURS",
            "Age at which an unfinished multipart upload is removed.",
            unit="hours",
            most=87_600,
            zero="never",
        ),
    ] = 168

    region: Annotated[
        str,
        Spec(
            Topic.IDENTITY,
            "RS3GW_REGION",
            "Region that signatures must name and that bucket locations report.",
            pattern=r"[a-z0-9][a-z0-9-]{0,62}",
            shape="lower-case letters, digits and hyphens",
        ),
    ] = "us-east-1"
    access_key: Annotated[
        str,
        Spec(
            Topic.IDENTITY,
            "RS3GW_ACCESS_KEY",
            "Access key id to give the root account; empty takes a random one at the first start. "
            "Goes with secret_key.",
            pattern=r"[A-Za-z0-9_.+@-]{3,128}",
            shape="3 to 128 letters, digits and _ . + @ -",
        ),
    ] = ""
    secret_key: Annotated[
        str,
        Spec(
            Topic.IDENTITY,
            "RS3GW_SECRET_KEY",
            "Secret of access_key.",
            pattern=r"[!-~]{8,128}",
            shape="8 to 128 visible ASCII characters",
            secret=True,
        ),
    ] = ""
    root_account_name: Annotated[
        str,
        Spec(
            Topic.IDENTITY,
            "RS3GW_ROOT_ACCOUNT_NAME",
            "Display name of the root account when it is made.",
            pattern=".{1,128}",
            shape="1 to 128 printable characters",
        ),
    ] = "root"
    root_email: Annotated[
        str,
        Spec(
            Topic.IDENTITY,
            "RS3GW_ROOT_EMAIL",
            "E-mail address of the root account when it is made.",
            pattern=r"[^@\s]{1,64}@[^@\s]{1,190}",
            shape="an e-mail address",
        ),
    ] = ""
    root_canonical_id: Annotated[
        str,
        Spec(
            Topic.IDENTITY,
            "RS3GW_ROOT_CANONICAL_ID",
            "Canonical id of the root account when it is made; empty takes a random one.",
            pattern=r"[0-9a-f]{64}",
            shape="64 lower-case hex digits",
        ),
    ] = ""
    presigned_v2: Annotated[
        PresignedV2,
        Spec(
            Topic.IDENTITY,
            "RS3GW_PRESIGNED_V2",
            "Which presigned requests may use the old SigV2 query signature, which boto3 makes by "
            "default for a custom endpoint.",
        ),
    ] = PresignedV2.GET_HEAD
    oidc_ca_file: Annotated[
        str,
        Spec(
            Topic.IDENTITY,
            "RS3GW_OIDC_CA_FILE",
            "Certificates in PEM to trust for the OpenID Connect providers of web identities, in "
            "place of the system's.",
            shape="a path",
        ),
    ] = ""
    new_buckets: Annotated[
        NewBuckets,
        Spec(
            Topic.IDENTITY,
            "RS3GW_NEW_BUCKETS",
            "Who may use a new bucket that does not say so itself. aws-2023: access control lists "
            "are off and public access is blocked. classic: lists count and nothing is blocked, "
            "for programs that were written before 2023.",
        ),
    ] = NewBuckets.AWS_2023

    default_encryption: Annotated[
        DefaultEncryption,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_DEFAULT_ENCRYPTION",
            "How objects are encrypted whose writer and bucket do not say. AES256: with keys of "
            "this server, as AWS does since 2023. none: not at all.",
            key="encryption.default",
        ),
    ] = DefaultEncryption.NONE
    customer_keys_in_clear: Annotated[
        bool,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_CUSTOMER_KEYS_IN_CLEAR",
            "Whether SSE-C keys are taken over connections without TLS, where everybody on the way "
            "can read them. For a server behind a proxy that speaks TLS to its clients.",
            key="encryption.customer_keys_in_clear",
        ),
    ] = False

    encryption_algorithm: Annotated[
        EncryptionAlgorithm,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_ENCRYPTION_ALGORITHM",
            "What new objects and keys are encrypted with. ChaCha20-Poly1305 is for processors "
            "without AES instructions. What is stored is read with either.",
            key="encryption.algorithm",
        ),
    ] = EncryptionAlgorithm.AES256_GCM
    master_key_source: Annotated[
        MasterKeySource,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_MASTER_KEY_SOURCE",
            "Where the master key is that seals all other keys. auto: in a file, made at the first "
            "start. file: in a file that is there. environment: in encryption.master_key. "
            "credential: in the systemd credential master-key. vault: it stays in a Vault.",
            key="encryption.master_key_source",
        ),
    ] = MasterKeySource.AUTO
    master_key_file: Annotated[
        str,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_MASTER_KEY_FILE",
            "The file of the master key, for the sources auto and file; empty is master.key under "
            "storage_root, where whoever steals the disk has both.",
            shape="a path",
            key="encryption.master_key_file",
        ),
    ] = ""
    master_key: Annotated[
        str,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_MASTER_KEY",
            "The master key itself, for the source environment.",
            pattern=r"[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=",
            shape="32 bytes as 64 hex digits or in base64",
            key="encryption.master_key",
            secret=True,
        ),
    ] = ""
    previous_master_key_file: Annotated[
        str,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_PREVIOUS_MASTER_KEY_FILE",
            "The file of the master key that another one is to replace: at the start, what it has "
            "sealed is sealed by the present one.",
            shape="a path",
            key="encryption.previous_master_key_file",
        ),
    ] = ""
    vault_address: Annotated[
        str,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_VAULT_ADDRESS",
            "The Vault (or OpenBao) of the source vault; plain http only on this machine.",
            pattern=r"https?://[^/\s@]+/?",
            shape="https://host:port",
            key="encryption.vault_address",
        ),
    ] = ""
    vault_token_file: Annotated[
        str,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_VAULT_TOKEN_FILE",
            "The file of the token for Vault, read for each request.",
            shape="a path",
            key="encryption.vault_token_file",
        ),
    ] = ""
    vault_mount: Annotated[
        str,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_VAULT_MOUNT",
            "Where the transit engine is mounted in Vault.",
            pattern=r"[A-Za-z0-9_/-]{1,200}",
            shape="1 to 200 letters, digits and characters of _/-",
            key="encryption.vault_mount",
        ),
    ] = "transit"
    vault_key: Annotated[
        str,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_VAULT_KEY",
            "The name of the transit key in Vault that is the master key.",
            pattern=r"[A-Za-z0-9_.-]{1,200}",
            shape="1 to 200 letters, digits and characters of _.-",
            key="encryption.vault_key",
        ),
    ] = ""
    vault_ca_file: Annotated[
        str,
        Spec(
            Topic.ENCRYPTION,
            "RS3GW_VAULT_CA_FILE",
            "Certificates in PEM to trust for Vault, in place of the system's.",
            shape="a path",
            key="encryption.vault_ca_file",
        ),
    ] = ""

    log_level: Annotated[
        LogLevel,
        Spec(Topic.OBSERVE, "RS3GW_LOG_LEVEL", "The least severe messages that are logged."),
    ] = LogLevel.INFO
    log_format: Annotated[
        LogFormat,
        Spec(
            Topic.OBSERVE,
            "RS3GW_LOG_FORMAT",
            "Format of the log on standard output; auto is console on a terminal, json elsewhere.",
        ),
    ] = LogFormat.AUTO
    access_log: Annotated[
        bool,
        Spec(Topic.OBSERVE, "RS3GW_ACCESS_LOG", "One log line for each request."),
    ] = True
    metrics_enabled: Annotated[
        bool,
        Spec(Topic.OBSERVE, "RS3GW_METRICS_ENABLED", "Whether /metrics answers."),
    ] = True
    metrics_token: Annotated[
        str,
        Spec(
            Topic.OBSERVE,
            "RS3GW_METRICS_TOKEN",
            "Bearer token that /metrics asks for; empty takes a random one at the first start, "
            "kept in the file metrics.token under storage_root.",
            pattern=r"[!-~]{16,256}",
            shape="16 to 256 visible ASCII characters",
            secret=True,
        ),
    ] = ""
