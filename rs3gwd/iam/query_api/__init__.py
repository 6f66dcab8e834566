"""The query API of IAM and STS: form-encoded POST to `/`, answers in XML; `aws iam ...`."""
