"""A client for Strongroom.

It promises what the API promises, in Python's forms: typed answers, numbers
that keep their digits, lists that page by themselves, files as streams, and an
exception with the places that are wrong for every refusal. It needs the
standard library alone.

    from strongroom import Client

    client = Client("https://127.0.0.1:8443", token="sr_key_...", ca="ca.pem")
    for record in client.list_records(org, "batch"):
        print(record.id, record.content)
"""

from . import _generated
from ._client import (
    Conflict,
    Denied,
    Detail,
    Download,
    Internal,
    Invalid,
    Malformed,
    NotFound,
    Pages,
    PreconditionRequired,
    Problem,
    Secret,
    Stale,
    StrongroomError,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unexpected,
    Unreachable,
    UnsupportedMedia,
)
from ._generated import *  # noqa: F403


class Client(_generated.Operations):
    """One installation, called as one person or key.

    url: the installation's, as in https://strongroom.example; only https.
    token: of a session or a key; without one only create_session works.
    ca: file with the certificates to trust, PEM; without one, the system's.
    purpose: what data is asked for, which goes on record with every read.

    A client may be used from several threads: each has connections of its own.
    """


__all__ = [
    "Client",
    "Conflict",
    "Denied",
    "Detail",
    "Download",
    "Internal",
    "Invalid",
    "Malformed",
    "NotFound",
    "Pages",
    "PreconditionRequired",
    "Problem",
    "Secret",
    "Stale",
    "StrongroomError",
    "TooLarge",
    "TooMany",
    "Unauthenticated",
    "Unavailable",
    "Unexpected",
    "Unreachable",
    "UnsupportedMedia",
    *_generated.__all__,
]
