"""AssumeRoleWithWebIdentity through boto3: whose tokens are taken, and what becomes of the rest."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from iam_endpoint import IamEndpoint
from joserfc.jwk import RSAKey
from s3_world import ALICE, HOST, S3World
from test_iam_clients import allow, code_of

from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.web_identity.issuers import AGAIN_MS, KEPT_MS
from rs3gwd.testing.fake_issuer import FakeIssuer

ACCOUNT = account_id_of(ALICE.canonical_id)
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.example.com"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/web"


class Scene:
    """Alice's bucket, an issuer that her account trusts, and a role that its subjects may have."""

    def __init__(self) -> None:
        self.issuer = FakeIssuer()
        self.endpoint = IamEndpoint(S3World(web_documents=self.issuer))
        # Each node fetches and keeps for itself.
        self.nodes = 3 if self.endpoint.world.nodes else 1
        self.iam = self.endpoint.client("iam")
        s3 = self.endpoint.client("s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="a", Body=b"1")
        made = self.iam.create_open_id_connect_provider(
            Url=self.issuer.url, ClientIDList=["app", "other"], ThumbprintList=["a" * 40]
        )
        assert made["OpenIDConnectProviderArn"] == PROVIDER
        self.iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust())
        self.iam.put_role_policy(
            RoleName="web", PolicyName="p", PolicyDocument=allow("s3:GetObject")
        )
        self.sts = boto3.client(
            "sts",
            endpoint_url=f"http://{HOST}",
            region_name="us-east-1",
            config=Config(signature_version=UNSIGNED, retries={"max_attempts": 1}),
        )
        self.sts.meta.events.register("before-send", self.endpoint._send)

    def claims(self, **more: Any) -> dict[str, Any]:
        """What a token says: about `repo:a` for `app`, for ten minutes."""
        now = int(self.endpoint.world.clock.now_ms() / 1000)
        claims = {"iss": self.issuer.url, "sub": "repo:a", "aud": "app"}
        return {**claims, "iat": now, "exp": now + 600, **more}

    def assume(self, token: str, **more: Any) -> Any:
        """What AssumeRoleWithWebIdentity answers."""
        given = {"RoleArn": ROLE, "RoleSessionName": "job", "WebIdentityToken": token, **more}
        return self.sts.assume_role_with_web_identity(**given)

    def code(self, token: str, **more: Any) -> str:
        """Its error code, or `ok`."""
        return code_of(self.assume, token=token, **more)

    def with_trust(self, **more: Any) -> None:
        """Another trust policy for the role."""
        self.iam.update_assume_role_policy(RoleName="web", PolicyDocument=trust(**more))


def trust(**more: Any) -> str:
    """Whoever the provider says is a subject that begins with `repo:`."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringLike": {"issuer.example.com:sub": "repo:*"}},
        **more,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def scene() -> Scene:
    """Everything in place."""
    return Scene()


def test_a_subject_of_the_provider_becomes_the_role(scene: Scene) -> None:
    """Without a signature; the session may what the role may, and says who vouched for it."""
    answer = scene.assume(scene.issuer.token(scene.claims()))
    assert answer["SubjectFromWebIdentityToken"] == "repo:a"
    assert answer["Provider"] == PROVIDER
    assert answer["Audience"] == "app"
    s3 = scene.endpoint.session_client("s3", answer["Credentials"])
    assert s3.get_object(Bucket="bucket", Key="a")["Body"].read() == b"1"
    assert code_of(s3.put_object, Bucket="bucket", Key="b", Body=b"") == "AccessDenied"
    who = scene.endpoint.session_client("sts", answer["Credentials"]).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/web/job"
    bounded = scene.assume(scene.issuer.token(scene.claims()), Policy=allow("s3:ListBucket"))
    s3 = scene.endpoint.session_client("s3", bounded["Credentials"])
    assert code_of(s3.get_object, Bucket="bucket", Key="a") == "AccessDenied"


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521"])
def test_keys_on_curves_are_taken(scene: Scene, kind: str) -> None:
    """ES256, ES384 and ES512, each by its own curve and by no other."""
    algorithms = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
    scene.issuer.add_key("curve", kind)
    right = scene.issuer.token(scene.claims(), key_id="curve", algorithm=algorithms[kind])
    assert scene.code(right) == "ok"


def test_the_trust_policy_decides_by_what_the_token_says(scene: Scene) -> None:
    """Subject, audience, method and the other keys of the provider."""
    assert scene.code(scene.issuer.token(scene.claims(sub="user:a"))) == "AccessDenied"
    for key, right, wrong in (
        ("aud", "other", "app"),
        ("email", "a@example.com", "b@example.com"),
        ("azp", "app", "other"),
    ):
        condition = {"StringEquals": {f"issuer.example.com:{key}": right}}
        scene.with_trust(Condition=condition)
        assert scene.code(scene.issuer.token(scene.claims(**{key: right}))) == "ok"
        assert scene.code(scene.issuer.token(scene.claims(**{key: wrong}))) == "AccessDenied"
    scene.with_trust(
        Condition={"ForAnyValue:StringEquals": {"issuer.example.com:amr": "authenticated"}}
    )
    assert scene.code(scene.issuer.token(scene.claims(amr=["authenticated"]))) == "ok"
    assert scene.code(scene.issuer.token(scene.claims())) == "AccessDenied"


def test_a_party_stands_for_the_audience(scene: Scene) -> None:
    """Where a token names whom it was given to, that one must be a client; policies see it."""
    token = scene.issuer.token(scene.claims(aud=["app", "api"], azp="other"))
    assert scene.assume(token)["Audience"] == "other"
    stranger = scene.issuer.token(scene.claims(azp="stranger"))
    assert scene.code(stranger) == "InvalidIdentityToken"
    scene.with_trust(Condition={"StringEquals": {"issuer.example.com:oaud": "api"}})
    assert scene.code(token) == "ok"


def test_a_role_that_trusts_somebody_else_is_not_given(scene: Scene) -> None:
    """Another provider, the account itself; a role that is not there is refused alike."""
    token = scene.issuer.token(scene.claims())
    for principal in (
        {"Federated": PROVIDER.replace("issuer", "another")},
        {"AWS": ACCOUNT},
    ):
        scene.with_trust(Principal=principal)
        assert scene.code(token) == "AccessDenied"
    assert scene.code(token, RoleArn=ROLE + "x") == "AccessDenied"
    scene.with_trust(Action="sts:AssumeRole")
    assert scene.code(token) == "AccessDenied"


def test_a_token_of_another_time_is_refused(scene: Scene) -> None:
    """Expired, of the future, or without a time."""
    now = int(scene.endpoint.world.clock.now_ms() / 1000)
    assert scene.code(scene.issuer.token(scene.claims(exp=now))) == "ExpiredTokenException"
    for claims in ({"iat": now + 600}, {"nbf": now + 600}):
        assert scene.code(scene.issuer.token(scene.claims(**claims))) == "InvalidIdentityToken"
    for lacking in ("exp", "iat", "sub", "aud"):
        claims = scene.claims()
        del claims[lacking]
        assert scene.code(scene.issuer.token(claims)) == "InvalidIdentityToken", lacking
    token = scene.issuer.token(scene.claims())
    assert scene.code(token) == "ok"
    scene.endpoint.world.clock.advance(600_000)
    assert scene.code(token) == "ExpiredTokenException"


def test_nobody_else_can_sign(scene: Scene) -> None:
    """Another key under the same id, no signature, a public key taken for a secret."""
    own = RSAKey.generate_key(2048)
    public = scene.issuer.keys["first"].as_pem(private=False)
    right = scene.issuer.token(scene.claims())
    head, claims, signature = right.split(".")
    shared = _part({"alg": "HS256", "kid": "first"}) + f".{claims}"
    critical = _part({"alg": "RS256", "kid": "first", "crit": ["x"]}) + f".{claims}"
    naked = _part({"alg": "none", "kid": "first"}) + f".{claims}."
    forged = [
        scene.issuer.token(scene.claims(), key=own),
        f"{shared}.{_text(hmac.digest(public, shared.encode(), 'sha256'))}",
        naked,
        f"{head}.{_part({**_read(claims), 'sub': 'repo:b'})}.{signature}",
        f"{head}.{claims}.{signature[:-4]}AAAA",
        f"{critical}.{_text(scene.issuer.sign(critical.encode()))}",
        "a.b.c",
        "....",
        "nothing",
        right + "." + right,
    ]
    for token in forged:
        assert scene.code(token) == "InvalidIdentityToken", token
    assert scene.code(right) == "ok"
    plain = _part({"alg": "RS256", "kid": "first"}) + f".{claims}"
    assert scene.code(f"{plain}.{_text(scene.issuer.sign(plain.encode()))}") == "ok"


def test_a_symmetric_key_of_a_provider_is_not_used(scene: Scene) -> None:
    """Even if it publishes one."""
    scene.issuer.add_key("shared", "oct")
    token = scene.issuer.token(scene.claims(), key_id="shared", algorithm="HS256")
    assert scene.code(token) == "InvalidIdentityToken"


def test_a_key_is_used_for_its_own_algorithm_alone(scene: Scene) -> None:
    """What the key says counts, not what the token asks for; short keys are not taken."""
    free = RSAKey.generate_key(2048, {"kid": "bound"})
    bound = {**free.as_dict(private=True), "alg": "RS256"}
    scene.issuer.keys["bound"] = RSAKey.import_key(bound)
    scene.issuer.keys["short"] = RSAKey.generate_key(1024, {"kid": "short"})
    assert scene.code(scene.issuer.token(scene.claims(), key_id="bound")) == "ok"
    other = scene.issuer.token(scene.claims(), key_id="bound", algorithm="RS512", key=free)
    assert scene.code(other) == "InvalidIdentityToken"
    short = scene.issuer.token(scene.claims(), key_id="short")
    assert scene.code(short) == "InvalidIdentityToken"


def test_only_issuers_of_the_roles_account_are_asked(scene: Scene) -> None:
    """A stranger cannot make the node fetch anything."""
    stranger = FakeIssuer("https://stranger.example.com")
    for issuer in (stranger.url, scene.issuer.url + "/", "http://issuer.example.com"):
        token = stranger.token(scene.claims(iss=issuer))
        assert scene.code(token) == "InvalidIdentityToken"
    assert scene.issuer.asked == []


def test_keys_are_kept_and_fetched_anew_when_they_change(scene: Scene) -> None:
    """Two fetches for many tokens; an unknown key fetches again, but not each time."""
    clock = scene.endpoint.world.clock
    for _ in range(3 * scene.nodes):
        assert scene.code(scene.issuer.token(scene.claims())) == "ok"
    assert len(scene.issuer.asked) == 2 * scene.nodes
    scene.issuer.add_key("second")
    token = scene.issuer.token(scene.claims(), key_id="second")
    for _ in range(scene.nodes):
        assert scene.code(token) == "InvalidIdentityToken"
    assert len(scene.issuer.asked) == 2 * scene.nodes
    clock.advance(AGAIN_MS)
    for _ in range(scene.nodes):
        assert scene.code(token) == "ok"
    for _ in range(3 * scene.nodes):
        unknown = scene.issuer.token(scene.claims(), head={"kid": "none"})
        assert scene.code(unknown) == "InvalidIdentityToken"
    assert len(scene.issuer.asked) == 4 * scene.nodes
    withdrawn = scene.issuer.keys.pop("first")
    clock.advance(KEPT_MS)
    taken_back = scene.issuer.token(scene.claims(), key=withdrawn)
    assert scene.code(taken_back) == "InvalidIdentityToken"


def test_a_provider_that_does_not_answer_lets_nobody_in(scene: Scene) -> None:
    """And is not asked again for ten seconds, however many tokens come."""
    scene.issuer.down = True
    for _ in range(3 * scene.nodes):
        assert scene.code(scene.issuer.token(scene.claims())) == "IDPCommunicationError"
    assert len(scene.issuer.asked) == scene.nodes
    scene.issuer.down = False
    scene.endpoint.world.clock.advance(10_000)
    assert scene.code(scene.issuer.token(scene.claims())) == "ok"


@pytest.mark.parametrize(
    "change",
    [
        {"jwks_uri": "http://issuer.example.com/keys"},
        {"named": "https://another.example.com"},
        {"published": {"keys": "none"}},
    ],
)
def test_documents_that_are_not_right_let_nobody_in(scene: Scene, change: dict[str, Any]) -> None:
    """Keys in the clear, another issuer's configuration, keys that cannot be read."""
    for name, value in change.items():
        setattr(scene.issuer, name, value)
    assert scene.code(scene.issuer.token(scene.claims())) == "IDPCommunicationError"


def test_tags_and_source_identity_of_a_token_go_into_the_session(scene: Scene) -> None:
    """Where the trust policy permits them, and policies can ask for them."""
    tags = {"principal_tags": {"team": ["red"]}, "transitive_tag_keys": ["team"]}
    token = scene.issuer.token(
        scene.claims(
            **{
                "https://aws.amazon.com/tags": tags,
                "https://aws.amazon.com/source_identity": "worker",
            }
        )
    )
    assert scene.code(token) == "AccessDenied"
    scene.with_trust(
        Action=["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"]
    )
    scene.iam.put_role_policy(
        RoleName="web",
        PolicyName="p",
        PolicyDocument=allow(
            "s3:GetObject", Condition={"StringEquals": {"aws:PrincipalTag/team": "red"}}
        ),
    )
    answer = scene.assume(token)
    assert answer["SourceIdentity"] == "worker"
    s3 = scene.endpoint.session_client("s3", answer["Credentials"])
    assert code_of(s3.get_object, Bucket="bucket", Key="a") == "ok"
    plain = scene.assume(scene.issuer.token(scene.claims()))
    s3 = scene.endpoint.session_client("s3", plain["Credentials"])
    assert code_of(s3.get_object, Bucket="bucket", Key="a") == "AccessDenied"


def test_a_session_ends_when_its_provider_may_be_gone_but_not_before_its_time(
    scene: Scene,
) -> None:
    """What was given stays for its time; without the provider nothing new is given."""
    answer = scene.assume(scene.issuer.token(scene.claims()), DurationSeconds=900)
    scene.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=PROVIDER)
    s3 = scene.endpoint.session_client("s3", answer["Credentials"])
    assert code_of(s3.get_object, Bucket="bucket", Key="a") == "ok"
    assert scene.code(scene.issuer.token(scene.claims())) == "InvalidIdentityToken"
    scene.endpoint.world.clock.advance(900_000)
    assert code_of(s3.get_object, Bucket="bucket", Key="a") == "ExpiredToken"


def test_no_other_action_comes_without_a_signature(scene: Scene) -> None:
    """An unsigned form is for this one action."""
    assert code_of(scene.sts.get_caller_identity) == "MissingAuthenticationToken"
    assert (
        code_of(scene.sts.assume_role, RoleArn=ROLE, RoleSessionName="job")
        == "MissingAuthenticationToken"
    )


def test_providers_are_made_shown_changed_and_removed(scene: Scene) -> None:
    """Everything that the API says about a provider comes back."""
    iam, arn = scene.iam, {"OpenIDConnectProviderArn": PROVIDER}
    iam.add_client_id_to_open_id_connect_provider(**arn, ClientID="third")
    iam.remove_client_id_from_open_id_connect_provider(**arn, ClientID="other")
    iam.update_open_id_connect_provider_thumbprint(**arn, ThumbprintList=["b" * 40])
    iam.tag_open_id_connect_provider(**arn, Tags=[{"Key": "k", "Value": "v"}])
    shown = iam.get_open_id_connect_provider(**arn)
    assert shown["Url"] == "issuer.example.com"
    assert shown["ClientIDList"] == ["app", "third"]
    assert shown["ThumbprintList"] == ["b" * 40]
    assert iam.list_open_id_connect_provider_tags(**arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    iam.untag_open_id_connect_provider(**arn, TagKeys=["k"])
    assert iam.list_open_id_connect_provider_tags(**arn)["Tags"] == []
    listed = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    assert [each["Arn"] for each in listed] == [PROVIDER]
    again = code_of(iam.create_open_id_connect_provider, Url=scene.issuer.url)
    assert again == "EntityAlreadyExists"
    iam.delete_open_id_connect_provider(**arn)
    iam.delete_open_id_connect_provider(**arn)
    assert code_of(iam.get_open_id_connect_provider, **arn) == "NoSuchEntity"


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com",
        "https://issuer.example.com/a?b",
        "https://issuer.example.com#a",
        "https://user@issuer.example.com",
        "https://",
        "https://" + "a" * 300,
        "issuer.example.com",
    ],
)
def test_an_address_that_is_no_issuers_is_refused(scene: Scene, url: str) -> None:
    """Only https, a host and perhaps a path."""
    assert code_of(scene.iam.create_open_id_connect_provider, Url=url) == "ValidationError"


def test_a_provider_with_a_path_has_condition_keys_of_its_own() -> None:
    """As with realms of one host: the path is part of the name."""
    scene = Scene()
    realm = FakeIssuer("https://issuer.example.com/realms/One")
    scene.issuer.fetch = realm.fetch  # type: ignore[method-assign]
    scene.iam.create_open_id_connect_provider(Url=realm.url, ClientIDList=["app"])
    scene.with_trust(
        Principal={"Federated": f"{PROVIDER}/realms/One"},
        Condition={"StringEquals": {"issuer.example.com/realms/One:sub": "repo:a"}},
    )
    assert scene.code(realm.token(scene.claims(iss=realm.url))) == "ok"
    assert scene.code(realm.token(scene.claims(iss=realm.url, sub="b"))) == "AccessDenied"
    assert scene.code(scene.issuer.token(scene.claims())) != "ok"


def _part(value: dict[str, Any]) -> str:
    return _text(json.dumps(value).encode())


def _text(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def _read(part: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
