"""The errors of keys.

Rs3gwError
|-- MasterKeyError       the master key is missing, malformed or another one (permanent)
|-- ProviderUnavailable  the holder of the master key does not answer (retryable)
`-- WrongKey             what was wrapped does not open with this key and context (permanent)
"""

from rs3gwd.base.errors import Fault, Rs3gwError


class MasterKeyError(Rs3gwError):
    """Whoever runs the node must give the master key that sealed the keyring."""

    fault = Fault.CALLER


class ProviderUnavailable(Rs3gwError):
    """Vault is unreachable, sealed, or refuses us; the keys that were opened stay usable."""

    code = "ServiceUnavailable"
    retryable = True
    fault = Fault.PEER


class WrongKey(Rs3gwError):
    """Another key, another context, or changed bytes: which of them cannot be told apart."""

    fault = Fault.DISK
