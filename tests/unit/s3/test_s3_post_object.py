"""Uploads by forms in browsers, through the whole surface."""

import base64
import hashlib
import hmac
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3_world import ALICE, BOB, HOST, SECRET, Answer, S3World, make_request

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import AccountRecord
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.timestamps import format_extended
from rs3gwd.s3.form_reader import FormReader, boundary_of
from rs3gwd.testing.bytes_body import BytesBody
from rs3gwd.testing.memory_keys import MemoryKeys

pytestmark = pytest.mark.proves("PostObject")

BOUNDARY = "form-boundary"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", "host": HOST}


def form(fields: dict[str, str], file: bytes | None = b"the file", name: str = "a b.txt") -> bytes:
    """The bytes of a form; without a file for None."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    if file is not None:
        head = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        parts.append(f"--{BOUNDARY}\r\n{head}\r\nContent-Type: text/x\r\n\r\n".encode())
        parts.append(file + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


class Forms:
    """A store with alice's `bucket`, to which forms are sent."""

    def __init__(self, world: S3World) -> None:
        self.world = world

    def signed(
        self,
        fields: dict[str, str],
        *conditions: object,
        by: AccountRecord = ALICE,
        version: int = 4,
        expires_s: int = 600,
    ) -> dict[str, str]:
        """The fields with a policy that allows them, the conditions, and its signature."""
        now_ms = self.world.clock.now_ms()
        stamp = format_extended(now_ms).replace("-", "").replace(":", "")
        fields = dict(fields)
        if version == 4:
            scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
            fields |= {
                "x-amz-algorithm": "AWS4-HMAC-SHA256",
                "x-amz-credential": f"{S3World.key_id(by)}/{scope}",
                "x-amz-date": stamp,
            }
        named = {each.lower() for each in ("key", *fields)}
        policy = {
            "expiration": format_extended(now_ms + expires_s * 1000),
            "conditions": [
                {"bucket": "bucket"},
                *({name: value} for name, value in fields.items() if name != "key"),
                *([["starts-with", "$key", ""]] if "key" in named else []),
                *conditions,
            ],
        }
        text = base64.b64encode(json.dumps(policy).encode()).decode()
        fields["policy"] = text
        if version == 2:
            digest = hmac.digest(SECRET.encode(), text.encode(), "sha1")
            return fields | {
                "AWSAccessKeyId": S3World.key_id(by),
                "signature": base64.b64encode(digest).decode(),
            }
        key = f"AWS4{SECRET}".encode()
        for part in (stamp[:8], "us-east-1", "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        fields["X-Amz-Signature"] = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return fields

    async def post(self, body: bytes, *, piece_bytes: int = 1 << 20, **headers: str) -> Answer:
        """Sends a form."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = make_request("POST", "/bucket", FORM | named, body)
        request = msgspec.structs.replace(request, body=BytesBody.cut(body, piece_bytes))
        return await self.world.send(request)

    async def stored(self, key: str = "k") -> Answer:
        """The object, as alice reads it."""
        return await self.world.call("GET", f"/bucket/{key}")


@pytest.fixture
async def forms() -> Forms:
    """A store with alice's bucket."""
    world = S3World(presigned_v2_methods=frozenset({"GET", "HEAD", "POST"}))
    assert (await world.call("PUT", "/bucket")).status == 200
    return Forms(world)


async def test_a_form_may_ask_for_encryption() -> None:
    """Its field is the header of a PUT; the file is stored encrypted and read as it was sent."""
    world = S3World(keys=MemoryKeys())
    assert (await world.call("PUT", "/bucket")).status == 200
    forms = Forms(world)
    fields = {"key": "k", "x-amz-server-side-encryption": "AES256"}
    answer = await forms.post(form(forms.signed(fields)))
    assert (answer.status, answer.headers["x-amz-server-side-encryption"]) == (204, "AES256")
    assert b"the file" not in next(iter(world.store.state.blobs.values()))
    assert (await forms.stored()).body == b"the file"


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 20])
async def test_a_signed_form_stores_its_file(forms: Forms, version: int, piece_bytes: int) -> None:
    """With the fields as headers, whatever pieces it comes in."""
    fields = {"key": "k", "Content-Type": "text/plain", "x-amz-meta-note": "n"}
    answer = await forms.post(form(forms.signed(fields, version=version)), piece_bytes=piece_bytes)
    assert (answer.status, answer.body) == (204, b"")
    stored = await forms.stored()
    assert stored.body == b"the file"
    assert stored.headers["content-type"] == "text/plain"
    assert stored.headers["x-amz-meta-note"] == "n"
    assert answer.headers["etag"] == stored.headers["etag"]


async def test_the_file_name_may_be_part_of_the_key(forms: Forms) -> None:
    """Its last part, whatever path the browser sends."""
    fields = forms.signed({"key": "user/${filename}"})
    await forms.post(form(fields, name="C:\\\\docs\\\\a.txt"))
    assert (await forms.stored("user/a.txt")).status == 200


@pytest.mark.parametrize(
    ("wish", "status"), [("200", 200), ("201", 201), ("204", 204), ("404", 204)]
)
async def test_a_form_chooses_how_it_is_answered(forms: Forms, wish: str, status: int) -> None:
    """200 and 201 as asked, 204 for anything else."""
    fields = forms.signed({"key": "k", "success_action_status": wish})
    answer = await forms.post(form(fields))
    assert answer.status == status
    assert answer.headers["location"].endswith("/bucket/k")
    if status == 201:
        assert [answer.text(name) for name in ("Bucket", "Key")] == ["bucket", "k"]
        assert answer.text("ETag") == answer.headers["etag"]


async def test_a_form_may_send_the_browser_on(forms: Forms) -> None:
    """With bucket, key and ETag in the query; what is no address of the web is overlooked."""
    fields = forms.signed({"key": "k&1", "success_action_redirect": "https://a.example/x?y=1"})
    answer = await forms.post(form(fields))
    assert answer.status == 303
    assert answer.headers["location"].startswith("https://a.example/x?y=1&bucket=bucket&key=k%261&")
    for wrong in ("javascript:alert(1)", "https://a.example/\r\nSet-Cookie: x", "no address"):
        fields = forms.signed({"key": "k", "success_action_redirect": wrong.replace("\r\n", "")})
        assert (await forms.post(form(fields))).status == 204


async def test_a_file_outside_its_bounds_is_not_stored(forms: Forms) -> None:
    """EntityTooLarge and EntityTooSmall; the bounds themselves are inside."""
    bounds = ["content-length-range", 3, 5]
    for size, code in ((2, "EntityTooSmall"), (3, ""), (5, ""), (6, "EntityTooLarge")):
        fields = forms.signed({"key": f"k{size}"}, bounds)
        answer = await forms.post(form(fields, b"x" * size), piece_bytes=4)
        assert answer.code == code
        assert (await forms.stored(f"k{size}")).status == (404 if code else 200)


async def test_a_form_that_was_changed_after_signing_is_refused(forms: Forms) -> None:
    """The policy, the signature, a field that the policy does not allow."""
    fields = forms.signed({"key": "k", "acl": "private"})
    other = forms.signed({"key": "k", "acl": "private"}, ["starts-with", "$tagging", ""])
    for changed, code in (
        ({"policy": other["policy"]}, "SignatureDoesNotMatch"),
        ({"X-Amz-Signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"X-Amz-Signature": "\u0660" * 64}, "SignatureDoesNotMatch"),
        ({"acl": "public-read"}, "AccessDenied"),
        ({"tagging": "<Tagging/>"}, "AccessDenied"),
        ({"x-amz-credential": "AKIANOBODY/20300101/us-east-1/s3/aws4_request"}, "InvalidArgument"),
    ):
        answer = await forms.post(form(fields | changed))
        assert answer.code == code
    assert (await forms.stored()).status == 404


async def test_a_form_without_a_signature_is_anonymous(forms: Forms) -> None:
    """Refused in a private bucket, taken where a policy lets everybody write."""
    assert (await forms.post(form({"key": "k"}))).code == "AccessDenied"
    world = forms.world
    await world.call("DELETE", "/bucket?publicAccessBlock")
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::bucket/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
    assert (await world.call("PUT", "/bucket?policy", body=policy)).status == 204
    assert (await forms.post(form({"key": "k"}))).status == 204
    assert (await forms.post(form({"key": "k", "policy": "e30="}))).code == "AccessDenied"


async def test_the_signer_must_be_allowed_to_write(forms: Forms) -> None:
    """A form that bob signed stores nothing in alice's bucket."""
    answer = await forms.post(form(forms.signed({"key": "k"}, by=BOB)))
    assert answer.code == "AccessDenied"
    assert (await forms.stored()).status == 404


@pytest.mark.parametrize(("value", "status"), [("public", 204), ("secret", 403)])
async def test_the_tags_of_a_form_are_decided_on(forms: Forms, value: str, status: int) -> None:
    """A policy may ask for s3:RequestObjectTag, which the field `tagging` gives."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": account_id_of(BOB.canonical_id)},
        "Action": ["s3:PutObject", "s3:PutObjectTagging"],
        "Resource": "arn:aws:s3:::bucket/*",
        "Condition": {"StringEquals": {"s3:RequestObjectTag/class": "public"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
    assert (await forms.world.call("PUT", "/bucket?policy", body=policy)).status == 204
    tag = f"<Tag><Key>class</Key><Value>{value}</Value></Tag>"
    tagging = f"<Tagging><TagSet>{tag}</TagSet></Tagging>"
    answer = await forms.post(form(forms.signed({"key": "k", "tagging": tagging}, by=BOB)))
    assert answer.status == status


async def test_the_owner_whom_a_form_expects_must_be_the_owner(forms: Forms) -> None:
    """A mistake is 403 and stores nothing, as with a PUT."""
    for owner, status in ((BOB, 403), (ALICE, 204)):
        fields = {"key": "k", "x-amz-expected-bucket-owner": owner.canonical_id}
        assert (await forms.post(form(forms.signed(fields)))).status == status
        assert (await forms.stored()).status == (200 if status == 204 else 404)


async def test_the_older_signature_is_an_option(forms: Forms) -> None:
    """Where version 2 is not taken for POST it is refused, right or wrong."""
    world = S3World()
    assert (await world.call("PUT", "/bucket")).status == 200
    answer = await Forms(world).post(form(Forms(world).signed({"key": "k"}, version=2)))
    assert answer.code == "InvalidRequest"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "InvalidArgument"),
        (form({"key": "k"}, None), "InvalidArgument"),
        (form({"key": ""}), "InvalidArgument"),
        (form({}), "InvalidArgument"),
        (form({"key": "k" * 1025}), "KeyTooLongError"),
        (form({"key": "k", "x-amz-meta-a": "1\r\n2"}), "InvalidArgument"),
        (form({"key": "k", "a": "x" * 20_001}), "MaxPostPreDataLengthExceededError"),
        (form({"key": "k", "KEY": "other"}), "InvalidArgument"),
        (form({"key": "k", "tagging": "<no"}), "MalformedXML"),
        (form({"key": "k", "AWSAccessKeyId": "a", "x-amz-date": "d"}), "InvalidArgument"),
        (b"nonsense" * 10, "MalformedPOSTRequest"),
        (form({"key": "k"})[:-20], "AccessDenied"),
    ],
)
async def test_a_form_that_is_wrong_gets_its_error(forms: Forms, body: bytes, code: str) -> None:
    """In the order in which S3 looks: the form, the signer, what they may."""
    assert (await forms.post(body)).code == code


async def test_a_form_that_breaks_off_in_its_file_stores_nothing(forms: Forms) -> None:
    """MalformedPOSTRequest: the last boundary never came."""
    whole = form(forms.signed({"key": "k"}))
    assert (await forms.post(whole[:-20])).code == "MalformedPOSTRequest"
    assert (await forms.stored()).status == 404


async def test_what_is_no_form_is_refused(forms: Forms) -> None:
    """By its content type alone."""
    answer = await forms.post(b"x", content_type="text/plain")
    assert answer.code == "RequestIsNotMultiPartContent"


@pytest.mark.parametrize(
    "content_type",
    ["", "multipart/form-data", 'multipart/form-data; boundary=""', "multipart/mixed; boundary=a"],
)
def test_a_content_type_without_a_boundary_is_none_of_a_form(content_type: str) -> None:
    """Whatever else it says."""
    with pytest.raises(ApiError):
        boundary_of(content_type)


@given(
    fields=st.dictionaries(
        st.text("abcdefgh-", min_size=1, max_size=9).filter(lambda name: name != "file"),
        st.text(max_size=30).filter(lambda text: "\r" not in text and "\n" not in text),
        max_size=5,
    ),
    file=st.binary(max_size=300).filter(lambda data: BOUNDARY.encode() not in data),
    piece_bytes=st.integers(1, 64),
)
def test_every_form_comes_out_as_it_went_in(
    fields: dict[str, str], file: bytes, piece_bytes: int
) -> None:
    """In any pieces, with any bytes in the file."""
    body = form(fields, file)
    reader = FormReader(BOUNDARY.encode())
    found = b"".join(
        piece
        for at in range(0, len(body), piece_bytes)
        for piece in reader.feed(body[at : at + piece_bytes])
    )
    assert (reader.fields, reader.file_name, found) == (fields, "a b.txt", file)
    assert reader.is_complete


@given(st.binary(max_size=500), st.integers(1, 32))
def test_noise_is_refused_and_nothing_worse(noise: bytes, piece_bytes: int) -> None:
    """No other exception, whatever comes behind a boundary."""
    body = f"--{BOUNDARY}\r\n".encode() + noise
    reader = FormReader(BOUNDARY.encode())
    try:
        for at in range(0, len(body), piece_bytes):
            reader.feed(body[at : at + piece_bytes])
    except ApiError as error:
        assert error.api_code in {"MalformedPOSTRequest", "InvalidArgument"}  # noqa: PT017
