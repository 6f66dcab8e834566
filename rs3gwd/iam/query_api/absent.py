"""Lists of what identities cannot have here: they are empty, and that is the truth.

Tools that remove a user or role (Terraform, the console) first ask for the devices, certificates
and profiles that may hang on it, and stop when the question is not understood.

Source: the actions of the same names in the IAM API Reference.
"""

from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import IdentityKind
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.query_api.call import QueryCall, Result
from rs3gwd.iam.query_api.identities import SHAPES, name_in
from rs3gwd.iam.query_api.row import Handler


def empty_list(kind: IdentityKind, member: str) -> Handler:
    """The list of an identity that exists; `member` is its element in the answer."""

    async def handle(call: QueryCall) -> Result:
        call.find(kind, name_in(call, kind))
        return {member: [], "IsTruncated": False}

    return handle


def empty_list_of_account(member: str) -> Handler:
    """The list of an account, which has none of these."""

    async def handle(call: QueryCall) -> Result:
        return {member: [], "IsTruncated": False}

    return handle


async def get_account_password_policy(call: QueryCall) -> Result:
    """GetAccountPasswordPolicy: there are no passwords to rule."""
    raise ApiError(
        "NoSuchEntity",
        f"The Password Policy with domain name {account_id_of(call.canonical_id)} cannot be found.",
    )


async def get_login_profile(call: QueryCall) -> Result:
    """GetLoginProfile: nobody has a password here."""
    user = call.find(IdentityKind.USER, name_in(call, IdentityKind.USER))
    raise ApiError(
        "NoSuchEntity", f"Login Profile for {SHAPES[user.kind].title} {user.name} cannot be found."
    )
