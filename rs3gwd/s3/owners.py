"""Owners as S3's XML shows them: the canonical id and the display name of the account."""

from rs3gwd.base.ports import Directory
from rs3gwd.s3.xml_write import element, optional_element


class Owners:
    """Looks up each account once for one answer."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._xml: dict[tuple[str, str], str] = {}

    def xml(self, canonical_id: str, tag: str = "Owner") -> str:
        """`<Owner>` (or `tag`) with ID and, where the account is still known, DisplayName."""
        found = self._xml.get((canonical_id, tag))
        if found is None:
            account = self._directory.account(canonical_id)
            name = account.display_name if account else None
            found = (
                f"<{tag}>{element('ID', canonical_id)}"
                f"{optional_element('DisplayName', name)}</{tag}>"
            )
            self._xml[canonical_id, tag] = found
        return found
