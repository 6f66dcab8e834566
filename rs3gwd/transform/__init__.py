"""Keys and ciphers: the keyring, the data keys of objects, and what encrypts their bytes.

    master key       outside the store     seals     versions of keys       (`master_key`, `vault`)
    keyring          KmsKeyRecord          seals     data keys and secrets  (`keyring`)
    data key         EncryptionRecord      makes     one key for each body  (`object_keys`)
    key of a body    nowhere               encrypts  blocks of 64 KiB       (`body_cipher`)

What it is not: it sees no request and no file. Bodies are cut into blocks by
`rs3gwd.s3.encrypted_bodies`; keys are stored through ports.
"""
