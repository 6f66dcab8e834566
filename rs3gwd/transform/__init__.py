"""Encryption at rest: ciphers, wrapped keys, the keyring and its master key.

What it is not: it sees no request and no file. Bodies are cut into blocks by
`rs3gwd.s3.encrypted_bodies`; keys are stored through ports.

    master key        outside the store      seals      key-encryption keys     (`master`, `vault`)
    keyring           KmsKeyRecord           seals      data keys and secrets   (`keyring`)
    data key          EncryptionRecord       makes      one key for each body   (`object_keys`)
    key of a body     nowhere                encrypts   blocks of 64 KiB        (`ciphers`)

What others use:

    KeyringObjectKeys(keyring, random, cipher)      the port `rs3gwd.base.encryption.ObjectKeys`
    await keyring.wrap_secret(secret, context)      bytes that can be stored
    await keyring.unwrap_secret(wrapped, context)   the secret; DataCorrupt for another context

`context` says whose the secret is (`b"access-key AKIA..."`): nobody can put it in another's place.
"""
