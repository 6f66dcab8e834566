"""Every way of using a session that must not work: another token, another key, no token, too late.

The requests are signed by botocore, so what is refused is not refused for a bad signature.
"""

from hashlib import sha256

import pytest
import trio
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from forging import Signer, sign_form
from iam_endpoint import IamEndpoint
from msgspec.structs import replace
from s3_world import HOST, Answer, S3World, make_request
from test_iam_clients import allow

from rs3gwd.base.http import Request

READ = allow("s3:*")
SESSION_SECONDS = 900


class Scene:
    """A bucket that two users may do everything in, each with a session of theirs."""

    def __init__(self) -> None:
        self.world = S3World(presigned_v2_methods=frozenset({"GET", "POST"}))
        endpoint = IamEndpoint(self.world)
        iam = endpoint.client("iam")
        s3 = endpoint.client("s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=b"1")
        self.sessions = []
        self.keys = []
        for name in ("one", "two"):
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=READ)
            key = iam.create_access_key(UserName=name)["AccessKey"]
            sts = endpoint.client("sts", key["AccessKeyId"], key["SecretAccessKey"])
            self.keys.append(Credentials(key["AccessKeyId"], key["SecretAccessKey"]))
            made = sts.get_session_token(DurationSeconds=SESSION_SECONDS)["Credentials"]
            session = made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]
            self.sessions.append(Credentials(*session))

    def send(self, request: Request) -> Answer:
        """What the service answers."""
        return trio.run(self.world.send, request)

    def header(self, credentials: Credentials, service: str = "s3") -> Request:
        """GET of the object, signed in its header."""
        url = f"http://{HOST}/bucket/k"
        aws = AWSRequest(method="GET", url=url, headers={"host": HOST})
        kind = S3SigV4Auth if service == "s3" else SigV4Auth
        kind(credentials, service, "us-east-1").add_auth(aws)
        headers = {name.lower(): value for name, value in aws.headers.items()}
        return make_request("GET", "/bucket/k", headers, b"")

    def presigned(self, credentials: Credentials, version: int = 4, seconds: int = 600) -> Request:
        """The same, presigned."""
        aws = AWSRequest(method="GET", url=f"http://{HOST}/bucket/k", headers={})
        if version == 4:
            S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=seconds).add_auth(aws)
        else:
            aws.auth_path = "/bucket/k"
            HmacV1QueryAuth(credentials, expires=seconds).add_auth(aws)
        target = aws.url.removeprefix(f"http://{HOST}")
        return make_request("GET", target, {"host": HOST}, b"")

    def form(self, credentials: Credentials, *, signs_token: bool = True, **given: str) -> Request:
        """An upload by a form, signed with version 4."""
        token = (credentials.token or "") if signs_token else ""
        signer = Signer.now(credentials.access_key, credentials.secret_key, token)
        return sign_form(signer, **given)


@pytest.fixture(scope="module")
def scene(file_ground: None) -> Scene:
    """One for all tests, none of which changes it."""
    return Scene()


def with_token(credentials: Credentials, token: str | None) -> Credentials:
    """The same key with another token."""
    return Credentials(credentials.access_key, credentials.secret_key, token)


def test_a_session_works_in_each_way_of_signing(scene: Scene) -> None:
    """Header, presigned with versions 4 and 2, browser form: else the refusals prove nothing."""
    one = scene.sessions[0]
    assert scene.send(scene.header(one)).status == 200
    assert scene.send(scene.presigned(one)).status == 200
    assert scene.send(scene.presigned(one, version=2)).status == 200
    assert scene.send(scene.form(one)).status == 204


def test_no_changed_token_works(scene: Scene) -> None:
    """Each character changed in turn, cut, lengthened, padded, empty: InvalidToken, always."""
    one = scene.sessions[0]
    token = one.token
    changed = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        for place in range(0, len(token), 7)
    ]
    changed += [token[:-1], token + "A", token + "=", token[1:], "A", "x" * 9000, "\xe9", "...."]
    for each in changed:
        answer = scene.send(scene.header(with_token(one, each)))
        assert (answer.status, answer.code) == (400, "InvalidToken"), each[:40]
    for make in (scene.presigned, lambda who: scene.presigned(who, version=2), scene.form):
        answer = scene.send(make(with_token(one, changed[0])))
        assert (answer.status, answer.code) == (400, "InvalidToken")


def test_key_and_token_belong_together(scene: Scene) -> None:
    """Another session's token, a token with a key for ever, a session's key without its token."""
    one, two = scene.sessions
    for make in (
        scene.header,
        scene.presigned,
        lambda who: scene.presigned(who, version=2),
        scene.form,
    ):
        mixed = scene.send(make(with_token(one, two.token)))
        assert (mixed.status, mixed.code) == (400, "InvalidToken")
        lasting = scene.send(make(with_token(scene.keys[0], one.token)))
        assert (lasting.status, lasting.code) == (400, "InvalidToken")
        without = scene.send(make(with_token(one, None)))
        assert (without.status, without.code) == (403, "InvalidAccessKeyId")


def test_a_token_does_not_replace_the_secret(scene: Scene) -> None:
    """With the right token and a wrong secret the signature is wrong."""
    one = scene.sessions[0]
    forged = Credentials(one.access_key, scene.keys[0].secret_key, one.token)
    for make in (scene.header, scene.presigned, scene.form):
        answer = scene.send(make(forged))
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")


def test_a_token_is_signed_and_given_once(scene: Scene) -> None:
    """Swapped after signing, twice, or in another place than the signature: refused."""
    one, two = scene.sessions
    request = scene.header(one)
    swapped = {**request.headers, "x-amz-security-token": two.token}
    assert scene.send(replace(request, headers=swapped)).code == "InvalidToken"
    presigned = scene.presigned(one)
    both = {**presigned.headers, "x-amz-security-token": one.token}
    assert scene.send(replace(presigned, headers=both)).status >= 400
    beside = scene.presigned(with_token(one, None))
    unsigned = replace(beside, raw_query=f"{beside.raw_query}&X-Amz-Security-Token={one.token}")
    assert scene.send(unsigned).code == "SignatureDoesNotMatch"
    in_query = replace(request, raw_query=f"X-Amz-Security-Token={one.token}")
    assert scene.send(in_query).code == "InvalidArgument"
    alone = make_request("GET", "/bucket/k", {"host": HOST, "x-amz-security-token": one.token}, b"")
    assert scene.send(alone).code == "AccessDenied"
    late = scene.form(one, signs_token=False, **{"x-amz-security-token": one.token})
    assert scene.send(late).code == "AccessDenied"


@pytest.mark.usefixtures("file_ground")
def test_a_presigned_request_ends_with_its_session() -> None:
    """However long it was presigned for; a form too."""
    scene = Scene()
    one = scene.sessions[0]
    requests = [
        scene.presigned(one, seconds=604_800),
        scene.presigned(one, version=2, seconds=604_800),
    ]
    for request in requests:
        assert scene.send(request).status == 200
    scene.world.clock.advance(SESSION_SECONDS * 1000)
    for request in requests:
        answer = scene.send(request)
        assert (answer.status, answer.code) == (400, "ExpiredToken")


def test_chunks_of_a_session_are_signed_with_its_key(scene: Scene) -> None:
    """The chain of a chunk-signed upload hangs on the session's secret."""
    one = scene.sessions[0]
    signer = Signer.now(one.access_key, one.secret_key)
    for secret, status in ((one.secret_key, 200), (scene.keys[0].secret_key, 403)):
        wrong = Signer(signer.access_key_id, secret, signer.timestamp)
        headers = {
            "host": HOST,
            "x-amz-date": signer.timestamp,
            "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "x-amz-decoded-content-length": "5",
            "x-amz-security-token": one.token,
        }
        kind = headers["x-amz-content-sha256"]
        seed = signer.request_signature("PUT", "/bucket/c", {}, headers, kind)
        body, previous = b"", seed
        for piece in (b"hello", b""):
            text = "\n".join(
                [
                    "AWS4-HMAC-SHA256-PAYLOAD",
                    signer.timestamp,
                    signer.scope,
                    previous,
                    sha256(b"").hexdigest(),
                    sha256(piece).hexdigest(),
                ]
            )
            previous = wrong.sign(text)
            body += f"{len(piece):x};chunk-signature={previous}\r\n".encode() + piece + b"\r\n"
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={one.access_key}/{signer.scope}, "
            f"SignedHeaders={';'.join(sorted(headers))}, Signature={seed}"
        )
        request = make_request(
            "PUT", "/bucket/c", {**headers, "content-length": str(len(body))}, body
        )
        assert scene.send(request).status == status
