"""Policies: who may do what, decided from documents. Pure: no I/O, no clock, no chance.

    bytes --reading.read_policy--> Document --statements.CompiledPolicy--> kept with what it is of
    request --context.Access (caller, action, resource, owner, lookup)
    evaluate.evaluate(Access, Policies) -> Verdict: outcome, reason, the statements that decided

How a gate uses it:

1.  Compile once: `CompiledPolicy(name, read_policy(text, PolicyKind.BUCKET, characters_max=
    BUCKET_CHARACTERS_MAX, bucket=name))` when a document is put or first used; keep it as long as
    the document's stamp is the same. `read_policy` raises what PutBucketPolicy must answer.
2.  Make the caller: `ANONYMOUS`, `root_caller(account_id, canonical_id)`, or a `Caller` with its
    kind, ARN and tags.
3.  Make the keys: `request_keys.RequestKeys(RequestFacts(...), more)` is a lookup that works
    nothing out until asked. Before it, ask `policies.keys_used()` whether `needs_existing_tags` or
    `needs_bucket_tags`, and fetch those. Tags in a body are `object_tags`: an operation that
    has them in its body is decided once they are read.
4.  `evaluate(Access(caller, action, resource, resource_account_id, keys), Policies(...))`. For what
    is done to the account itself the resource is `arn:aws:s3:::*` and the owner the caller's own
    account. An access control list that permits is `Policies.acl`, RestrictPublicBuckets over a
    policy for which `public.is_public_policy` is true is `Policies.public_restricted`.
5.  A Verdict is no proof of permission by itself: the gate turns an allowed one into its own
    Decision, which handlers demand.

An operation that needs several permissions (CopyObject: GetObject on the source, PutObject on the
target; PutObject with tags: also PutObjectTagging) asks once for each and needs all.

`lint` says what in a document is probably a mistake, `explain` why a request was decided as it was.
"""
