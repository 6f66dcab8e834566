"""Malformed requests: new buckets and documents in bodies."""

from malformed_case import Case, md5_header

_NAMES = ["Abc", "a_b", "-abc", "abc-", "a..b", ".abc", "1.2.3.4", "xn--abc", "sthree-abc",
         "abc-s3alias", "abc--ol-s3", "abc.mrap", "abc--x-s3", "a" * 64]  # fmt: skip
NEW_BUCKETS = [Case(f"bucket name {n}", "PUT", f"/{n}", 400, "InvalidBucketName") for n in _NAMES]
_HEADERS = [
    ("x-amz-acl", "public-read", 400, "InvalidBucketAclWithObjectOwnership"),
    ("x-amz-acl", "world", 400, "InvalidArgument"),
    ("x-amz-grant-write", 'id="1"', 400, "InvalidArgument"),
    ("x-amz-object-ownership", "Writer", 400, "InvalidArgument"),
    ("x-amz-object-ownership", "Me", 400, "InvalidArgument"),
    ("x-amz-bucket-object-lock-enabled", "maybe", 400, "InvalidArgument"),
    ("x-rs3gw-durability", "lax", 400, "InvalidArgument"),
]
NEW_BUCKETS += [
    Case(f"new bucket with {name}: {value}", "PUT", "/fresh", status, code, {name: value})
    for name, value, status, code in _HEADERS
]
_BODIES = [
    ("text", "nonsense", 400, "MalformedXML"),
    ("another document", "<Tagging/>", 400, "MalformedXML"),
    (
        "an unknown element",
        "<CreateBucketConfiguration><X/></CreateBucketConfiguration>",
        400,
        "MalformedXML",
    ),
    (
        "another region",
        "<CreateBucketConfiguration><LocationConstraint>eu-west-1"
        "</LocationConstraint></CreateBucketConfiguration>",
        400,
        "IllegalLocationConstraintException",
    ),
    (
        "no region at all",
        "<CreateBucketConfiguration><LocationConstraint>moon"
        "</LocationConstraint></CreateBucketConfiguration>",
        400,
        "InvalidLocationConstraint",
    ),
    (
        "two regions",
        "<CreateBucketConfiguration><LocationConstraint/><LocationConstraint/>"
        "</CreateBucketConfiguration>",
        400,
        "MalformedXML",
    ),
    (
        "a directory bucket",
        "<CreateBucketConfiguration><Bucket><Type>Directory</Type></Bucket>"
        "</CreateBucketConfiguration>",
        501,
        "NotImplemented",
    ),
    (
        "a system tag",
        "<CreateBucketConfiguration><Tags><Tag><Key>aws:x</Key><Value/></Tag>"
        "</Tags></CreateBucketConfiguration>",
        400,
        "InvalidTag",
    ),
    ("64 KiB and more", "<CreateBucketConfiguration>" + " " * 65536, 400, "EntityTooLarge"),
]
NEW_BUCKETS += [
    Case(f"new bucket with {name}", "PUT", "/fresh", status, code, body=text.encode())
    for name, text, status, code in _BODIES
]
"""CreateBucket: names, headers and documents."""

_DOCUMENT_TARGETS = [
    ("PUT", "/bucket?versioning", "VersioningConfiguration"),
    ("PUT", "/bucket?tagging", "Tagging"),
    ("PUT", "/bucket/key?tagging", "Tagging"),
    ("POST", "/bucket?delete", "Delete"),
    ("POST", "/bucket/part-key?uploadId={upload}", "CompleteMultipartUpload"),
]
_NOT_XML = [
    ("text", b"x"),
    ("json", b"{}"),
    ("an open root", b"<ROOT>"),
    ("two roots", b"<ROOT/><ROOT/>"),
    ("another root", b"<Other/>"),
    ("an unknown child", b"<ROOT><Unknown/></ROOT>"),
    ("a document type", b"<!DOCTYPE ROOT><ROOT/>"),
    ("an entity", b'<!DOCTYPE x [<!ENTITY e "e">]><ROOT>&e;</ROOT>'),
    ("an instruction", b"<?x y?><ROOT/>"),
    ("bytes that are no UTF-8", b"<ROOT>\xff</ROOT>"),
    ("depth", b"<ROOT>" + b"<A>" * 40 + b"</A>" * 40 + b"</ROOT>"),
]
DOCUMENTS = [
    Case(
        f"{root} of {name}, {method} {target[:12]}",
        method,
        target,
        400,
        "MalformedXML",
        md5_header(body := template.replace(b"ROOT", root.encode())),
        body,
    )
    for method, target, root in _DOCUMENT_TARGETS
    for name, template in _NOT_XML
]
DOCUMENTS += [
    Case(
        f"no {root} at all, {method} {target[:12]}",
        method,
        target,
        400,
        "InvalidRequest" if root.startswith("Complete") else "MissingRequestBodyError",
        md5_header(b""),
    )
    for method, target, root in _DOCUMENT_TARGETS
]
"""Documents that are no XML, or not the one that is wanted, or not there."""

_TAG = "<Tag><Key>{}</Key><Value>{}</Value></Tag>"


def _tags(*pairs: tuple[str, str]) -> bytes:
    inside = "".join(_TAG.format(*pair) for pair in pairs)
    return f"<Tagging><TagSet>{inside}</TagSet></Tagging>".encode()


def _completion(*parts: tuple[object, str]) -> bytes:
    inside = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in parts
    )
    return f"<CompleteMultipartUpload>{inside}</CompleteMultipartUpload>".encode()


_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
_UPLOAD = ("POST", "/bucket/part-key?uploadId={upload}")
_VERSIONING = ("PUT", "/bucket?versioning")
_CONTENTS: list[tuple[str, tuple[str, str], int, str, bytes]] = [
    (
        "versioning without status",
        _VERSIONING,
        400,
        "IllegalVersioningConfigurationException",
        b"<VersioningConfiguration/>",
    ),
    (
        "versioning turned off",
        _VERSIONING,
        400,
        "MalformedXML",
        b"<VersioningConfiguration><Status>Off</Status></VersioningConfiguration>",
    ),
    (
        "MFA delete",
        _VERSIONING,
        501,
        "NotImplemented",
        b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>"
        b"</VersioningConfiguration>",
    ),
    (
        "51 bucket tags",
        ("PUT", "/bucket?tagging"),
        400,
        "BadRequest",
        _tags(*((f"k{n}", "") for n in range(51))),
    ),
    (
        "11 object tags",
        ("PUT", "/bucket/key?tagging"),
        400,
        "BadRequest",
        _tags(*((f"k{n}", "") for n in range(11))),
    ),
    (
        "tag without a key in a document",
        ("PUT", "/bucket/key?tagging"),
        400,
        "InvalidTag",
        _tags(("", "v")),
    ),
    (
        "tag key of 129",
        ("PUT", "/bucket/key?tagging"),
        400,
        "InvalidTag",
        _tags(("k" * 129, "")),
    ),
    (
        "tag value of 257",
        ("PUT", "/bucket/key?tagging"),
        400,
        "InvalidTag",
        _tags(("k", "v" * 257)),
    ),
    (
        "tag twice",
        ("PUT", "/bucket/key?tagging"),
        400,
        "InvalidTag",
        _tags(("k", "1"), ("k", "2")),
    ),
    ("system tag", ("PUT", "/bucket?tagging"), 400, "InvalidTag", _tags(("aws:k", "1"))),
    ("tag with a hash sign", ("PUT", "/bucket?tagging"), 400, "InvalidTag", _tags(("k#", "1"))),
    ("completion of no parts", _UPLOAD, 400, "MalformedXML", _completion()),
    (
        "completion with a part that is not there",
        _UPLOAD,
        400,
        "InvalidPart",
        _completion((1, _MD5)),
    ),
    (
        "completion out of order",
        _UPLOAD,
        400,
        "InvalidPartOrder",
        _completion((2, _MD5), (1, _MD5)),
    ),
    (
        "completion with a part twice",
        _UPLOAD,
        400,
        "InvalidPartOrder",
        _completion((1, _MD5), (1, _MD5)),
    ),
    ("completion with part zero", _UPLOAD, 400, "InvalidArgument", _completion((0, _MD5))),
    ("completion with part 10,001", _UPLOAD, 400, "InvalidArgument", _completion((10001, _MD5))),
    ("completion with part x", _UPLOAD, 400, "MalformedXML", _completion(("x", _MD5))),
    ("deletion of nothing", ("POST", "/bucket?delete"), 400, "MalformedXML", b"<Delete/>"),
    (
        "deletion without a key",
        ("POST", "/bucket?delete"),
        400,
        "MalformedXML",
        b"<Delete><Object/></Delete>",
    ),
    (
        "deletion of 1,001 keys",
        ("POST", "/bucket?delete"),
        400,
        "MalformedXML",
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
    ),
]
CONTENTS = [
    Case(name, method, target, status, code, md5_header(body), body)
    for name, (method, target), status, code, body in _CONTENTS
]
"""Documents that are well formed and say what cannot be."""
