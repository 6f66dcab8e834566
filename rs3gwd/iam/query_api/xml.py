"""How the query API writes its answers: dicts, lists, texts, numbers and times as XML.

    {"User": {"UserName": "bob"}}      <User><UserName>bob</UserName></User>
    {"Users": [{"UserName": "bob"}]}   <Users><member><UserName>bob</UserName></member></Users>

A value of None is left out. Policy documents are percent-encoded where they stand in answers.

Source: the sample responses of the IAM API Reference, which SDKs read by the model of the service.
"""

import re
from enum import Enum
from typing import Any

from msgspec import Struct

CONTENT_TYPE = ("Content-Type", "text/xml")

_SPECIAL = re.compile("[&<>\x00-\x08\x0b-\x1f\ufffe\uffff]")
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


class Entries(Struct, frozen=True):
    """A map from names to values, which has a form of its own:
    `<entry><key>Users</key><value>1</value></entry>`."""

    values: dict[str, Any]


class Service(Enum):
    """A service of this endpoint beside S3: its name in signatures and the version of its API."""

    IAM = ("iam", "2010-05-08")
    STS = ("sts", "2011-06-15")

    @property
    def scope(self) -> str:
        """Its name in the scope of signatures."""
        return self.value[0]

    @property
    def version(self) -> str:
        """The version of its API, as clients name it."""
        return self.value[1]

    @property
    def namespace(self) -> str:
        """The namespace of its answers."""
        return f"https://{self.scope}.amazonaws.com/doc/{self.version}/"


def element(name: str, value: Any) -> str:
    """One element, its content escaped; nothing for None."""
    if value is None:
        return ""
    return f"<{name}>{_content(value)}</{name}>"


def answer(service: Service, action: str, result: dict[str, Any] | None, request_id: str) -> bytes:
    """The whole answer of an action; `result` is None for an action that has none."""
    content = "" if result is None else element(f"{action}Result", result)
    return (
        f'<{action}Response xmlns="{service.namespace}">{content}'
        f"<ResponseMetadata>{element('RequestId', request_id)}</ResponseMetadata>"
        f"</{action}Response>"
    ).encode()


def _content(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(element(name, each) for name, each in value.items())
    if isinstance(value, Entries):
        pairs = ({"key": name, "value": each} for name, each in value.values.items())
        return "".join(element("entry", each) for each in pairs)
    if isinstance(value, list):
        return "".join(element("member", each) for each in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return _SPECIAL.sub(lambda found: _NAMED.get(found.group(), "\ufffd"), str(value))
