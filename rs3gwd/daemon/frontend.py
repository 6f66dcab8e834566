"""The network front of one process: S3, metrics and health on the addresses it is given.

What it is not: it opens no store and starts nothing else. A node without workers and every worker
build the same front, over whatever engine the process has:

    engine -> store, directory -> S3Service -> Gateway <- pages (metrics, health)
"""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from msgspec import Struct

from rs3gwd.admin.operations import SEGMENT
from rs3gwd.admin.service import AdminPorts, AdminService
from rs3gwd.base.http import Request
from rs3gwd.base.ports import Clock, Random, Threads
from rs3gwd.config import Config
from rs3gwd.daemon.settings import default_encryption, gateway_limits, presigned_v2_methods
from rs3gwd.daemon.stores import Stores
from rs3gwd.daemon.web_documents import HttpsDocuments
from rs3gwd.engine.face import EngineFace
from rs3gwd.gateway.front import Observer
from rs3gwd.gateway.gateway import Gateway
from rs3gwd.gateway.listener import ListenAddress
from rs3gwd.gateway.pages import Pages as GatewayPages
from rs3gwd.gateway.pages import Readiness
from rs3gwd.iam.key_uses import KeyUses
from rs3gwd.iam.signers import Signers
from rs3gwd.s3.call import Services
from rs3gwd.s3.route import Router
from rs3gwd.s3.service import S3Service
from rs3gwd.s3.website import bucket_of_website
from rs3gwd.transform.keyring import Keyring
from rs3gwd.transform.object_keys import KeyringObjectKeys


class Ports(Struct, frozen=True):
    """Time, chance and threads of this process."""

    clock: Clock
    random: Random
    threads: Threads


class Pages(Struct, frozen=True):
    """What the daemon's own pages show: `token` is what /metrics asks for, None for no metrics."""

    render_metrics: Callable[[], Awaitable[bytes]]
    token: str | None


def make_gateway(
    config: Config,
    engine: EngineFace,
    *,
    addresses: Sequence[ListenAddress],
    host_id: str,
    keyring: Keyring,
    observer: Observer,
    pages: Pages,
    ports: Ports,
    stores: Stores,
    uses: KeyUses,
    sharers: int = 1,
) -> Gateway:
    """The front, not serving yet; `sharers` processes divide the node's bounds among them.

    `host_id` names the node to clients (`x-amz-id-2`). Raises OSError (with ssl.SSLError) when
    certificate or key cannot be read.
    """
    services = Services(
        store=stores.store,
        directory=stores.directory,
        sessions=stores.sessions,
        clock=stores.clock or ports.clock,
        random=ports.random,
        threads=ports.threads,
        region=config.region,
        virtual_host_domains=config.virtual_host_domains,
        website_domains=config.website_domains,
        presigned_v2_methods=presigned_v2_methods(config.presigned_v2),
        durability_default=config.durability_default,
        new_buckets=config.new_buckets,
        host_id=host_id,
        memory=engine.memory,
        keys=make_object_keys(config, keyring, ports),
        default_encryption=default_encryption(config.default_encryption),
        takes_customer_keys_in_clear=config.customer_keys_in_clear,
        secrets=keyring,
        uses=uses,
        web_documents=HttpsDocuments(ca_path=config.oidc_ca_file, threads=ports.threads),
    )
    return Gateway(
        handler=make_admin(services, stores).before(
            S3Service(services).begin, _names_bucket(services)
        ),
        pages=GatewayPages(
            render_metrics=pages.render_metrics,
            metrics_token=pages.token,
            readiness=lambda: _readiness(engine),
        ),
        addresses=addresses,
        observer=observer,
        clock=ports.clock,
        random=ports.random,
        host_id=host_id,
        limits=gateway_limits(config, sharers=sharers),
        tls_context=tls_context(config),
    )


def make_admin(services: Services, stores: Stores) -> AdminService:
    """The admin API beside the S3 surface of the same services."""
    sessions = stores.sessions
    return AdminService(
        AdminPorts(
            directory=services.directory,
            clock=services.clock,
            region=services.region,
            permissions=services.permissions,
            signers=Signers(services.directory, services.secrets, services.brake),
            cluster=stores.cluster,
            begin=None if sessions is None else partial(sessions.begin, "", b"", False),
            uses=services.uses,
        )
    )


def _names_bucket(services: Services) -> Callable[[Request], bool]:
    """Whether the host of a request names a bucket, so that its whole path is a key."""
    router = Router(domains=services.virtual_host_domains)
    websites = services.website_domains

    def names_bucket(request: Request) -> bool:
        if websites and bucket_of_website(request.host, websites) is not None:
            return True
        return router.split_target(request.host, request.raw_path)[0] != SEGMENT

    return names_bucket


def make_object_keys(config: Config, keyring: Keyring, ports: Ports) -> KeyringObjectKeys:
    """The data keys of objects, over the keyring of this process."""
    return KeyringObjectKeys(keyring, region=config.region, random=ports.random)


def tls_context(config: Config) -> ssl.SSLContext | None:
    """The certificate and key as they are now; None without TLS. Raises OSError."""
    if not config.tls_cert_path:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.tls_cert_path, config.tls_key_path)
    return context


def url_of(config: Config, place: tuple[str, int]) -> str:
    """Where a client finds the node that listens at host and port `place`."""
    host, port = place
    scheme = "https" if config.tls_cert_path else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _readiness(engine: EngineFace) -> Readiness:
    failure = engine.disk_failure
    return Readiness(ready=failure is None, checks={"disk": failure or "ok"})
