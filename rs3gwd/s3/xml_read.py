"""How S3's XML is read: a small tree of elements, made with pyexpat under bounds.

This is not a validator: each operation says which elements it knows, and refuses a document with
MalformedXML where AWS's schema does. Namespaces are dropped: clients send the S3 namespace, another
one, or none. Of the attributes only `xsi:type` is kept, which says what a Grantee is.

Refused are document type declarations (and so every entity but the five of XML), processing
instructions, encodings other than UTF-8, elements deeper than DEPTH_MAX, and more elements than
ELEMENTS_MAX. The caller has bounded the bytes already. Pure.

Source: "Amazon S3 REST API introduction"; W3C XML 1.0; libexpat's guidance on billion laughs.
"""

from __future__ import annotations

import pyexpat
from typing import NoReturn

from rs3gwd.base.errors import ApiError

DEPTH_MAX = 16
"""Levels of elements. The deepest document of S3's API, a replication rule, has 8."""

ELEMENTS_MAX = 100_000
"""Elements in one document. A CompleteMultipartUpload of 10,000 parts with checksums has 40,001."""

CONFIGURATION_BYTES_MAX = 64 * 1024
"""Bytes of a bucket's configuration document. 50 tags of the longest kind are under 60 kB."""


_XSI_TYPE = "http://www.w3.org/2001/XMLSchema-instance}type"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Element:
    """One element: its local name, its `xsi:type` (empty without one), its own text and its
    children, in document order.
    """

    __slots__ = ("children", "name", "text", "type")

    def __init__(self, name: str, type_: str = "") -> None:
        self.name = name
        self.type = type_
        self.text = ""
        self.children: list[Element] = []

    def find(self, name: str) -> Element | None:
        """The first child of this name."""
        for child in self.children:
            if child.name == name:
                return child
        return None

    def find_all(self, name: str) -> list[Element]:
        """Every child of this name."""
        return [child for child in self.children if child.name == name]

    def text_of(self, name: str) -> str | None:
        """The text of the first child of this name, or None when there is none."""
        child = self.find(name)
        return None if child is None else child.text

    def require_children(self, *known: str) -> None:
        """Raises ApiError MalformedXML when there is a child of any other name."""
        for child in self.children:
            if child.name not in known:
                raise malformed()


def parse_xml(body: bytes, *roots: str) -> Element:
    """The root element of `body`, whose name is one of `roots` (any, when none is given).

    Raises ApiError MalformedXML; MissingRequestBodyError for no document at all.
    """
    if not body:
        raise ApiError("MissingRequestBodyError")
    if body.startswith(_UTF_16_MARKS):
        raise malformed()
    parser = pyexpat.ParserCreate("UTF-8", "}")
    # Without it a text of many lines arrives as many pieces.
    parser.buffer_text = True
    tree = _Tree()
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.characters
    parser.XmlDeclHandler = _check_declaration
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ProcessingInstructionHandler = _refuse
    try:
        parser.Parse(body, True)
    except pyexpat.ExpatError as error:
        raise malformed() from error
    root = tree.root.children[0]
    if roots and root.name not in roots:
        raise malformed()
    return root


def malformed(message: str = "") -> ApiError:
    """The error for a document that is not well formed or not what the operation takes."""
    return ApiError("MalformedXML", message)


class _Tree:
    """Builds the tree; `root` holds the document's root element as its only child."""

    def __init__(self) -> None:
        self.root = Element("")
        self._open = [self.root]
        # Text arrives in pieces of 8 KiB: joined once, or a long one would cost its square.
        self._texts: list[list[str]] = [[]]
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) > DEPTH_MAX or self._count > ELEMENTS_MAX:
            raise malformed()
        element = Element(name.rpartition("}")[2], attributes.get(_XSI_TYPE, ""))
        self._open[-1].children.append(element)
        self._open.append(element)
        self._texts.append([])

    def end(self, name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def characters(self, text: str) -> None:
        self._texts[-1].append(text)


def _check_declaration(version: str, encoding: str | None, standalone: int) -> None:
    if encoding is not None and encoding.upper() not in ("UTF-8", "UTF8"):
        raise malformed()


def _refuse(*declaration: object) -> NoReturn:
    raise malformed()
