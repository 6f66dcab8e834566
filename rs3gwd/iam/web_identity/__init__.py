"""Web identities: tokens of OpenID Connect providers, verified. Whom they become STS decides."""
