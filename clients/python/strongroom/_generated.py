"""The operations of the API and what they answer.

Generated from the API's description by internal/testkit/pyclient; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO, Literal, Mapping, Required, Sequence, TypedDict

from ._client import UNSET, Caller, Download, Pages, Secret, Unset


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An answer, or a part of one.

    expires_at: When it ends, unless it is used before; it never outlasts a day.
    """

    id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An answer, or a part of one.

    email: Absent once the person was erased.
    name: Absent once the person was erased.
    """

    id: str
    email: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgRoles:
    """An answer, or a part of one."""

    id: str
    name: str
    roles: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """An answer, or a part of one.

    roles: On the installation: system_admin, or none.
    token: Only when the session is new.
    """

    session: Session
    person: Person
    roles: list[str]
    organizations: list[OrgRoles]
    token: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinCode:
    """An answer, or a part of one.

    join_code: Hand it to the admin of the organization that is to add you; nobody else.
    """

    join_code: Secret
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """An answer, or a part of one.

    guardians: Folders of the guardians.
    zones: Folders of the copies of the key store.
    grade: demo: they are on one machine or one disk.
    """

    guardians: list[str]
    zones: list[str]
    grade: Literal["demo", "independent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStatus:
    """An answer, or a part of one.

    open: Whether it waits for its first administrator.
    places: Where the keys are; while it waits.
    warning: What losing the guardians means.
    """

    open: bool
    places: Places | None = None
    warning: str | None = None


class OrganizationInput(TypedDict, total=False):
    """A part of a request.

    placement: schema: tables of its own. pooled: shared tables, for personal accounts. Default: schema.
    plan: Default: enterprise.
    """

    name: Required[str]
    placement: Literal["schema", "pooled"]
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """An answer, or a part of one.

    roles: The caller's own roles there; none for a system administrator.
    owner: Whether the caller is an owner.
    expires_at: Of a throw-away organization: from then on nobody enters it.
    """

    id: str
    name: str
    placement: Literal["schema", "pooled"]
    plan: str
    state: Literal["active", "closed", "expired"]
    created_at: datetime
    roles: list[str]
    owner: bool
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetupResponse:
    """An answer, or a part of one."""

    person: Person
    organization: Org


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """An answer, or a part of one.

    expires_at: From then on nobody enters it.
    """

    org: str
    name: str
    state: Literal["active", "expired"]
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """An answer, or a part of one.

    key: An API key of the organization, shown once. Send it as Authorization: Bearer.
    roles: Of the key.
    expires_at: From then on nobody enters the organization.
    """

    org: str
    name: str
    key: Secret
    roles: list[str]
    expires_at: datetime


class NewPersonInput(TypedDict, total=False):
    """A part of a request.

    email: Of somebody without an account.
    join_code: Of somebody who has an account; instead of email, name and password.
    password: 15 characters or more; any characters. Without one the person cannot sign in by password.
    """

    email: str
    join_code: str | Secret
    name: str
    password: str | Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An answer, or a part of one.

    owner: Owners decide on closing the organization; there is always one.
    state: Somebody disabled cannot sign in.
    created_at: Since when the person belongs to the organization.
    email: Absent once the person was erased.
    name: Absent once the person was erased.
    """

    roles: list[str]
    owner: bool
    state: Literal["active", "disabled"]
    created_at: datetime
    id: str
    email: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedOrg:
    """An answer, or a part of one.

    roles: The caller's own roles there; none for a system administrator.
    owner: Whether the caller is an owner.
    expires_at: Of a throw-away organization: from then on nobody enters it.
    """

    owned_by: Member
    id: str
    name: str
    placement: Literal["schema", "pooled"]
    plan: str
    state: Literal["active", "closed", "expired"]
    created_at: datetime
    roles: list[str]
    owner: bool
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonName:
    """An answer, or a part of one.

    name: Absent once the person was erased.
    """

    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleWords:
    """An answer, or a part of one."""

    role: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionWords:
    """An answer, or a part of one.

    roles: That allow it.
    everybody: Needs no role: it is about the caller alone.
    for_keys: A key for a program may carry it as a scope.
    """

    action: str
    words: str
    roles: list[str]
    everybody: bool
    for_keys: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionGroup:
    """An answer, or a part of one."""

    name: str
    actions: list[ActionWords]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTable:
    """An answer, or a part of one.

    roles: In the order in which people read them.
    """

    roles: list[RoleWords]
    groups: list[ActionGroup]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An answer, or a part of one.

    prefix: The first characters of the key after sr_key_, to tell keys apart.
    scopes: What the key may do, at most.
    last_used_at: To within five minutes.
    """

    id: str
    name: str
    prefix: str
    roles: list[str]
    scopes: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    """An answer, or a part of one.

    token: Shown once. Send it as Authorization: Bearer.
    prefix: The first characters of the key after sr_key_, to tell keys apart.
    scopes: What the key may do, at most.
    last_used_at: To within five minutes.
    """

    token: Secret
    id: str
    name: str
    prefix: str
    roles: list[str]
    scopes: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KitCollection:
    """An answer, or a part of one.

    measurement: A pooled organization cannot have it.
    installed: The organization has a collection of this name that came with the kit.
    changed: The organization's collection of this name differs from what the kit declares.
    """

    kind: str
    title: str
    measurement: bool
    installed: bool
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """An answer, or a part of one.

    kit: The name in paths.
    roles: What the trade calls the roles.
    installed: The organization has a collection for every kind.
    """

    kit: str
    title: str
    description: str
    version: int
    roles: dict[str, str]
    installed: bool
    collections: list[KitCollection]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageKit:
    """An answer, or a part of one.

    next: The cursor of the next page; absent on the last one.
    """

    items: list[Kit]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """An answer, or a part of one.

    many: A record may have more than one.
    to: Kinds, and file; none: anything.
    """

    many: bool | None = None
    title: str | None = None
    to: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """An answer, or a part of one.

    kind: The name in paths.
    schema: JSON Schema, draft 2020-12, with the annotation x-strongroom.
    visibility: Who sees a new record when its author says nothing.
    relations: The links that its records carry, by name. None: any.
    kit: The kit that it came with; empty: the organization's own.
    kit_version: The version of the kit that it follows, or was changed from; 0: none.
    changed: The organization has changed what the kit declares, so it does not follow the product any
        more.
    """

    id: str
    kind: str
    title: str
    description: str
    schema: Any
    visibility: Literal["organization", "private"]
    relations: dict[str, Relation]
    kit: str
    kit_version: int
    changed: bool
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class RelationInput(TypedDict, total=False):
    """A part of a request.

    many: A record may have more than one.
    to: Kinds, and file; none: anything.
    """

    many: bool
    title: str
    to: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An answer, or a part of one.

    collection: The kind's name.
    title: The words by which people know it: the field that the schema names for that, or nothing.
    content: The object as it was sent, but for white space between its tokens: numbers keep their
        digits, members their order.
    missing: JSON pointers of the fields that are gone from the content because the person whom they
        were about was erased.
    """

    id: str
    collection: str
    version: int
    title: str
    content: dict[str, Any]
    visibility: Literal["organization", "private"]
    owner: str
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    missing: list[str] | None = None


class NewLinkInput(TypedDict, total=False):
    """A part of a request.

    relation: What the target is to the record, as in measurement or source.
    to: A record or a file of the organization.
    """

    relation: Required[str]
    to: Required[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An answer, or a part of one.

    missing: Pointers of the fields whose person was erased.
    """

    version: int
    action: Literal["create", "update"]
    at: datetime
    by: str
    content: dict[str, Any]
    missing: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """An answer, or a part of one.

    people: Who sees a private record beside its owner: members of the organization.
    """

    visibility: Literal["organization", "private"]
    people: list[str]


class NewRecordInput(TypedDict, total=False):
    """A part of a request.

    content: An object that the collection's schema accepts.
    links: Links from the record, made together with it or not at all.
    visibility: private: only the owner sees it, and the people she shares it with. Default: what the
        collection says.
    """

    content: Required[Mapping[str, Any]]
    links: Sequence[NewLinkInput]
    visibility: Literal["organization", "private"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An answer, or a part of one."""

    id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRecordsResponse:
    """An answer, or a part of one."""

    items: list[Made]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An answer, or a part of one.

    from_: A record.
    to: A record or a file.
    direction: Seen from the record in the path.
    title: Of the other end: a record's title, a file's name.
    collection: Of the other end, if that is a record.
    """

    id: str
    from_: str
    to: str
    relation: str
    direction: Literal["out", "in"]
    title: str
    collection: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An answer, or a part of one.

    version: Grows with every new version of the bytes.
    size: In bytes.
    """

    id: str
    version: int
    size: int
    name: str
    media_type: str
    visibility: Literal["organization", "private"]
    owner: str
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesVersion:
    """An answer, or a part of one.

    size: In bytes.
    """

    version: int
    size: int
    at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trashed:
    """An answer, or a part of one.

    id: A record or a file.
    collection: Of a record: the collection's name, as its path has it.
    title: A record's title, a file's name; empty for who may not open it.
    purge_after: Until then it can be taken back.
    """

    id: str
    kind: Literal["record", "file"]
    collection: str
    title: str
    owner: str
    deleted_at: datetime
    deleted_by: str
    purge_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An answer, or a part of one.

    done: Records and files that are in it so far.
    total: How many there are; 0 until it is known, which is at the end.
    size: Of the archive in bytes, once it is ready.
    expires_at: When it is removed.
    scope: How much: a project is a record and all that leads to it by links.
    code: Why it failed.
    collection: The collection's name; for the scopes record, collection and project.
    file: The file; for the scope file.
    format: zip holds everything, with files, history and a manifest of hashes; ndjson and csv hold the
        records alone, csv of one collection. Default: zip.
    record: The record; for the scopes record and project.
    """

    id: str
    state: Literal["waiting", "running", "ready", "failed"]
    done: int
    total: int
    size: int
    created_at: datetime
    expires_at: datetime
    scope: Literal["record", "collection", "project", "file", "organization"]
    code: str | None = None
    collection: str | None = None
    file: str | None = None
    format: Literal["zip", "ndjson", "csv"] | None = None
    record: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """An answer, or a part of one."""

    kind: str
    id: str | None = None
    initiator: str | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """An answer, or a part of one."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """An answer, or a part of one."""

    id: str
    action: str | None = None
    actor: Who | None = None
    code: str | None = None
    counts: dict[str, int] | None = None
    openings: list[Commitment] | None = None
    org: str | None = None
    outcome: str | None = None
    purpose: str | None = None
    request_id: str | None = None
    salt: str | None = None
    targets: list[str] | None = None
    time: str | None = None
    v: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """An answer, or a part of one.

    password: Sign in by address and password.
    mfa: A second factor, which the organization can require.
    roles: The predefined roles.
    service_accounts: Accounts for programs.
    api_keys: Keys for programs.
    sso: Sign in by the organization's identity provider.
    periods: The organization sets its own periods of retention.
    thresholds: The organization sets its own rate limits.
    residency: The organization chooses its region.
    dedicated: A database, a store and a key service of its own.
    """

    password: bool
    mfa: bool
    roles: bool
    service_accounts: bool
    api_keys: bool
    sso: bool
    periods: bool
    thresholds: bool
    residency: bool
    dedicated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """An answer, or a part of one."""

    requests_per_minute_person: int
    requests_per_minute_organization: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """An answer, or a part of one.

    evaluation_days: How long the plan lasts; 0: it does not end.
    purge_after_days: How long after the end, or after closing, all data is gone from everywhere.
    undo_days: How long what was deleted stays in the trash.
    sign_in_log_days: How long sign-ins and sign-outs stay on record.
    """

    evaluation_days: int
    purge_after_days: int
    undo_days: int
    sign_in_log_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An answer, or a part of one.

    audit: What the organization's people can do with their log, which is written in every plan. none:
        nothing; basic: read it; full: export it too, and keep it longer.
    updated_by: Absent while the plan is as it came, or where the installation itself changed it.
    """

    plan: str
    version: int
    updated_at: datetime
    title: str
    description: str
    features: Features
    audit: Literal["none", "basic", "full"]
    limits: Limits
    periods: Periods
    updated_by: str | None = None


class FeaturesInput(TypedDict, total=False):
    """A part of a request.

    password: Sign in by address and password.
    mfa: A second factor, which the organization can require.
    roles: The predefined roles.
    service_accounts: Accounts for programs.
    api_keys: Keys for programs.
    sso: Sign in by the organization's identity provider.
    periods: The organization sets its own periods of retention.
    thresholds: The organization sets its own rate limits.
    residency: The organization chooses its region.
    dedicated: A database, a store and a key service of its own.
    """

    password: Required[bool]
    mfa: Required[bool]
    roles: Required[bool]
    service_accounts: Required[bool]
    api_keys: Required[bool]
    sso: Required[bool]
    periods: Required[bool]
    thresholds: Required[bool]
    residency: Required[bool]
    dedicated: Required[bool]


class LimitsInput(TypedDict, total=False):
    """A part of a request."""

    requests_per_minute_person: Required[int]
    requests_per_minute_organization: Required[int]


class PeriodsInput(TypedDict, total=False):
    """A part of a request.

    evaluation_days: How long the plan lasts; 0: it does not end.
    purge_after_days: How long after the end, or after closing, all data is gone from everywhere.
    undo_days: How long what was deleted stays in the trash.
    sign_in_log_days: How long sign-ins and sign-outs stay on record.
    """

    evaluation_days: Required[int]
    purge_after_days: Required[int]
    undo_days: Required[int]
    sign_in_log_days: Required[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An answer, or a part of one."""

    report: str
    state: Literal["open", "acknowledged", "closed"]
    received_at: datetime
    title: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An answer, or a part of one.

    report: The reference: name it when you write about the report.
    """

    report: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An answer, or a part of one.

    title: One line.
    description: What is wrong, how to see it, what it lets somebody do.
    contact: Where to answer; may be left out.
    """

    report: str
    state: Literal["open", "acknowledged", "closed"]
    received_at: datetime
    changed_at: datetime
    version: int
    title: str
    description: str
    contact: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An answer, or a part of one.

    restarts: Since the supervisor started.
    """

    name: str
    state: Literal["waiting", "starting", "up", "restarting", "stopped"]
    since: datetime
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An answer, or a part of one."""

    name: str
    severity: Literal["warning", "critical"]
    text: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """An answer, or a part of one.

    holds: Stores of the installation.
    """

    holds: list[str]
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """An answer, or a part of one.

    source: Who gave it: the local authority, the operator, or an ACME authority.
    problem: Why there is none, or no newer one.
    """

    source: Literal["local", "own", "acme"]
    names: list[str]
    not_after: datetime
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """An answer, or a part of one.

    lag_seconds: Age of the oldest.
    """

    waiting: int
    lag_seconds: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """An answer, or a part of one.

    retrying: Failed, and will be tried again.
    failed: Given up in the last day.
    oldest_seconds: How long the oldest that is due has waited.
    """

    waiting: int
    running: int
    retrying: int
    failed: int
    oldest_seconds: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneStatus:
    """An answer, or a part of one."""

    name: str
    path: str
    device: int
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardianStatus:
    """An answer, or a part of one."""

    name: str
    socket: str
    guardian: str
    grade: str
    answers: bool
    counted: int
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusStatus:
    """An answer, or a part of one."""

    state: str
    trouble: list[str]
    epoch: int
    epoch_since: datetime
    revision: int
    fence: int
    organizations: int
    servers: int
    zones: list[ZoneStatus]
    guardians: list[GuardianStatus]
    healed: int
    lost: int
    grade: str
    grade_reasons: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """An answer, or a part of one.

    partly: Some clauses are kept, the others are not built.
    stale: The last proof is too old, or there is none yet.
    """

    kept: int
    partly: int
    not_yet: int
    stale: int
    broken: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """An answer, or a part of one.

    url: Where people reach it.
    set_up: Whether somebody runs it: false while it waits for its first administrator.
    started_at: Of the server process that answers.
    services: The processes of the installation, as their supervisor sees them.
    alarms: What is wrong now and has been told.
    spare_schemas: Schemas in stock for new organizations.
    audit_chain_breaks: Events that were taken out of, or put into, the rows that wait for their place
        in the log. 0 on a sound installation.
    events: Events on their way to their place in the log.
    problem: Why it is not ready.
    proofs: How the promises stand by their last proofs.
    undelivered: Why alarms do not get through, if they do not.
    """

    version: str
    url: str
    ready: bool
    set_up: bool
    started_at: datetime
    services: list[Service]
    alarms: list[Alarm]
    disks: list[Disk]
    certificates: list[Certificate]
    spare_schemas: int
    audit_chain_breaks: int
    events: Events
    jobs: Jobs
    keys: StatusStatus
    problem: str | None = None
    proofs: Proofs | None = None
    undelivered: list[str] | None = None


class Operations(Caller):
    """Every operation of the API, as a method."""

    def create_session(self, *, email: str, password: str | Secret) -> SignedIn:
        """Sign in with address and password.

        A wrong password, an address without an account and a disabled account get the same answer. Send the
        token as `Authorization: Bearer` from then on.

        password: At most 1,024 bytes.

        POST /v1/sessions, action session.create
        """
        return self._call(
            "POST",
            "/v1/sessions",
            {},
            SignedIn,
            json={"email": email, "password": password},
            signed=False,
        )

    def get_session(self) -> SignedIn:
        """See who is signed in.

        GET /v1/sessions/current, action session.read
        """
        return self._call(
            "GET",
            "/v1/sessions/current",
            {},
            SignedIn,
        )

    def end_session(self) -> None:
        """Sign out.

        DELETE /v1/sessions/current, action session.end
        """
        self._call(
            "DELETE",
            "/v1/sessions/current",
            {},
            None,
        )

    def create_join_code(self) -> JoinCode:
        """Make a code by which an organization can add the caller.

        Whoever has an account already joins another organization by handing this code to its admin.

        POST /v1/sessions/current/join-code, action join_code.create
        """
        return self._call(
            "POST",
            "/v1/sessions/current/join-code",
            {},
            JoinCode,
        )

    def change_password(self, *, password: str | Secret, new_password: str | Secret) -> None:
        """Change one's own password.

        Every session of the person ends, this one too, within a second on every server.

        password: The password until now.
        new_password: 15 characters or more; any characters.

        PUT /v1/sessions/current/password, action password.change
        """
        self._call(
            "PUT",
            "/v1/sessions/current/password",
            {},
            None,
            json={"password": password, "new_password": new_password},
        )

    def get_setup(self) -> SetupStatus:
        """See whether the installation waits to be set up.

        GET /v1/setup, action setup.read
        """
        return self._call(
            "GET",
            "/v1/setup",
            {},
            SetupStatus,
            signed=False,
        )

    def run_setup(
        self,
        *,
        code: str,
        name: str,
        email: str,
        password: str | Secret,
        organization: OrganizationInput,
        acknowledged: bool,
    ) -> RunSetupResponse:
        """Set up an empty installation.

        Makes the first system administrator and the first organization, with the one-time code that the
        installation printed. Refused for good once an administrator exists.

        code: The one-time code that the installation printed.
        name: Of the first system administrator.
        password: 15 characters or more; any characters.
        organization: The first organization; the administrator is its first owner.
        acknowledged: true: whoever loses every guardian loses all content, and the caller knows it.

        POST /v1/setup, action setup.run
        """
        return self._call(
            "POST",
            "/v1/setup",
            {},
            RunSetupResponse,
            json={"code": code, "name": name, "email": email, "password": password, "organization": organization, "acknowledged": acknowledged},
            signed=False,
        )

    def list_sandboxes(self, *, limit: int | Unset = UNSET) -> Pages[Sandbox]:
        """List one's own throw-away organizations.

        Those that have ended are listed too, as expired.

        limit: How many items to return at most.

        GET /v1/sandboxes, action sandbox.list
        """
        return self._list(
            "GET",
            "/v1/sandboxes",
            {},
            Sandbox,
            query={"limit": limit},
        )

    def create_sandbox(self, *, name: str | Unset = UNSET) -> Created:
        """Make a throw-away organization.

        The caller, a person who has signed in, owns it and holds every role in it. The key in the answer
        may do in it whatever a key may do, and is never shown again. After 24 hours, or when it is ended,
        nobody enters it any more; what was stored in it stays there, sealed. People who have an account
        join by a code of theirs; new accounts are not made there. One person has up to 3 at a time and
        makes up to 10 a day. An operator can switch sandboxes off; then this is denied.

        name: Default: Sandbox.

        POST /v1/sandboxes, action sandbox.create
        """
        return self._call(
            "POST",
            "/v1/sandboxes",
            {},
            Created,
            json={"name": name},
        )

    def end_sandbox(self, org: str) -> None:
        """End a throw-away organization before its time.

        Its keys are revoked and nobody belongs to it any more. Ending one that has ended changes nothing.

        org: The organization.

        DELETE /v1/sandboxes/{org}, action sandbox.end
        """
        self._call(
            "DELETE",
            "/v1/sandboxes/{org}",
            {"org": org},
            None,
        )

    def list_orgs(self, *, limit: int | Unset = UNSET) -> Pages[Org]:
        """List the caller's organizations.

        A system administrator sees every organization: its name, plan and placement, none of its data.

        limit: How many items to return at most.

        GET /v1/orgs, action org.list
        """
        return self._list(
            "GET",
            "/v1/orgs",
            {},
            Org,
            query={"limit": limit},
        )

    def create_org(
        self,
        *,
        name: str,
        owner: NewPersonInput,
        placement: Literal["schema", "pooled"] | Unset = UNSET,
        plan: Literal["pilot", "team", "enterprise"] | Unset = UNSET,
    ) -> CreatedOrg:
        """Create an organization with its first owner.

        owner: Becomes org_admin and owner.
        placement: schema: tables of its own. pooled: shared tables, for personal accounts. Default: schema.
        plan: Default: enterprise.

        POST /v1/orgs, action org.create
        """
        return self._call(
            "POST",
            "/v1/orgs",
            {},
            CreatedOrg,
            json={"name": name, "owner": owner, "placement": placement, "plan": plan},
        )

    def get_org(self, org: str) -> Org:
        """Read an organization.

        org: The organization.

        GET /v1/orgs/{org}, action org.read
        """
        return self._call(
            "GET",
            "/v1/orgs/{org}",
            {"org": org},
            Org,
            purpose=True,
        )

    def update_org(self, org: str, *, name: str) -> Org:
        """Change an organization's name.

        org: The organization.

        PUT /v1/orgs/{org}, action org.update
        """
        return self._call(
            "PUT",
            "/v1/orgs/{org}",
            {"org": org},
            Org,
            json={"name": name},
        )

    def list_members(self, org: str, *, limit: int | Unset = UNSET) -> Pages[Member]:
        """List the members.

        org: The organization.
        limit: How many items to return at most.

        GET /v1/orgs/{org}/members, action member.list
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/members",
            {"org": org},
            Member,
            query={"limit": limit},
            purpose=True,
        )

    def add_member(
        self,
        org: str,
        *,
        roles: Sequence[Literal["scientist", "analyst", "org_admin", "security_admin", "billing_admin"]],
        email: str | Unset = UNSET,
        join_code: str | Secret | Unset = UNSET,
        name: str | Unset = UNSET,
        password: str | Secret | Unset = UNSET,
    ) -> Member:
        """Add a person.

        Send email, name and password for somebody without an account, or the join_code of somebody who has
        one.

        org: The organization.
        email: Of somebody without an account.
        join_code: Of somebody who has an account; instead of email, name and password.
        password: 15 characters or more; any characters. Without one the person cannot sign in by password.

        POST /v1/orgs/{org}/members, action member.add
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/members",
            {"org": org},
            Member,
            json={"roles": roles, "email": email, "join_code": join_code, "name": name, "password": password},
        )

    def update_member(
        self,
        org: str,
        person: str,
        *,
        owner: bool | Unset = UNSET,
        roles: Sequence[Literal["scientist", "analyst", "org_admin", "security_admin", "billing_admin"]] | Unset = UNSET,
    ) -> Member:
        """Change a member's roles or mark as owner.

        org: The organization.
        person: The member.
        owner: Only owners make, change and remove owners. The last one stays.
        roles: All the roles from now on.

        PATCH /v1/orgs/{org}/members/{person}, action member.update
        """
        return self._call(
            "PATCH",
            "/v1/orgs/{org}/members/{person}",
            {"org": org, "person": person},
            Member,
            json={"owner": owner, "roles": roles},
        )

    def remove_member(self, org: str, person: str) -> None:
        """Remove a member.

        The keys that the person made in the organization are revoked.

        org: The organization.
        person: The member.

        DELETE /v1/orgs/{org}/members/{person}, action member.remove
        """
        self._call(
            "DELETE",
            "/v1/orgs/{org}/members/{person}",
            {"org": org, "person": person},
            None,
        )

    def list_people(self, org: str, *, limit: int | Unset = UNSET) -> Pages[PersonName]:
        """List the names of the organization's people.

        For everybody who works with its data: records and files name people by identifiers.

        org: The organization.
        limit: How many items to return at most.

        GET /v1/orgs/{org}/people, action member.names
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/people",
            {"org": org},
            PersonName,
            query={"limit": limit},
            purpose=True,
        )

    def get_roles(self) -> RoleTable:
        """Read who may do what.

        The very table that decides, in words. It is the same for every organization, and public.

        GET /v1/roles, action roles.read
        """
        return self._call(
            "GET",
            "/v1/roles",
            {},
            RoleTable,
            signed=False,
        )

    def list_keys(self, org: str, *, limit: int | Unset = UNSET) -> Pages[Key]:
        """List the API keys, without their secrets.

        org: The organization.
        limit: How many items to return at most.

        GET /v1/orgs/{org}/keys, action key.list
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/keys",
            {"org": org},
            Key,
            query={"limit": limit},
            purpose=True,
        )

    def create_key(
        self,
        org: str,
        *,
        name: str,
        roles: Sequence[Literal["scientist", "analyst", "org_admin", "security_admin", "billing_admin"]],
        expires_at: datetime | Unset = UNSET,
        scopes: Sequence[str] | Unset = UNSET,
    ) -> CreatedKey:
        """Make an API key.

        The key is in this answer and never shown again.

        org: The organization.
        roles: Roles that the caller holds.
        expires_at: Within 366 days. Default: in 90 days.
        scopes: Actions that the key is limited to, as in record.read. Default: all that its roles allow a
            key.

        POST /v1/orgs/{org}/keys, action key.create
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/keys",
            {"org": org},
            CreatedKey,
            json={"name": name, "roles": roles, "expires_at": expires_at, "scopes": scopes},
        )

    def revoke_key(self, org: str, key: str) -> None:
        """Revoke an API key.

        org: The organization.
        key: The key.

        DELETE /v1/orgs/{org}/keys/{key}, action key.revoke
        """
        self._call(
            "DELETE",
            "/v1/orgs/{org}/keys/{key}",
            {"org": org, "key": key},
            None,
        )

    def list_kits(self, org: str) -> PageKit:
        """List the kits and what is installed of them.

        org: The organization.

        GET /v1/orgs/{org}/kits, action kit.list
        """
        return self._call(
            "GET",
            "/v1/orgs/{org}/kits",
            {"org": org},
            PageKit,
            purpose=True,
        )

    def install_kit(self, org: str, kit: str) -> Kit:
        """Start the collections of a kit.

        What is there already stays as it is.

        org: The organization.
        kit: The kit's name.

        POST /v1/orgs/{org}/kits/{kit}:install, action kit.install
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/kits/{kit}:install",
            {"org": org, "kit": kit},
            Kit,
        )

    def list_collections(self, org: str, *, limit: int | Unset = UNSET) -> Pages[Collection]:
        """List the collections.

        org: The organization.
        limit: How many items to return at most.

        GET /v1/orgs/{org}/collections, action collection.list
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/collections",
            {"org": org},
            Collection,
            query={"limit": limit},
            purpose=True,
        )

    def create_collection(
        self,
        org: str,
        *,
        kind: str,
        description: str | Unset = UNSET,
        relations: Mapping[str, RelationInput] | Unset = UNSET,
        schema: Any | Unset = UNSET,
        title: str | Unset = UNSET,
        visibility: Literal["organization", "private"] | Unset = UNSET,
    ) -> Collection:
        """Declare a collection by JSON Schema.

        org: The organization.
        kind: The name in paths: lower case letters, digits and hyphens.
        relations: The links that its records carry, by name, and related. Default: any.
        schema: JSON Schema, draft 2020-12, with the annotation x-strongroom. Default: any object.
        title: Default: the kind.
        visibility: Who sees a new record when its author says nothing. Default: organization.

        POST /v1/orgs/{org}/collections, action collection.create
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/collections",
            {"org": org},
            Collection,
            json={"kind": kind, "description": description, "relations": relations, "schema": schema, "title": title, "visibility": visibility},
        )

    def get_collection(self, org: str, kind: str) -> Collection:
        """Read a collection and its schema.

        org: The organization.
        kind: The collection's name.

        GET /v1/orgs/{org}/collections/{kind}, action collection.read
        """
        return self._call(
            "GET",
            "/v1/orgs/{org}/collections/{kind}",
            {"org": org, "kind": kind},
            Collection,
            purpose=True,
        )

    def update_collection(
        self,
        org: str,
        kind: str,
        *,
        if_match: int,
        description: str | Unset = UNSET,
        new_kind: str | Unset = UNSET,
        relations: Mapping[str, RelationInput] | Unset = UNSET,
        schema: Any | Unset = UNSET,
        title: str | Unset = UNSET,
        visibility: Literal["organization", "private"] | Unset = UNSET,
    ) -> Collection:
        """Change a collection's declaration.

        A changed schema is held against every stored record first. Where some do not fit, nothing changes,
        and up to 20 of them are named.

        org: The organization.
        kind: The collection's name.
        if_match: The version that was read.
        new_kind: The same as in the path; a collection keeps its name.
        relations: The links that its records carry, by name, and related. Default: any.
        schema: JSON Schema, draft 2020-12, with the annotation x-strongroom. Default: any object.
        title: Default: the kind.
        visibility: Who sees a new record when its author says nothing. Default: organization.

        PUT /v1/orgs/{org}/collections/{kind}, action collection.update
        """
        return self._call(
            "PUT",
            "/v1/orgs/{org}/collections/{kind}",
            {"org": org, "kind": kind},
            Collection,
            headers={"If-Match": if_match},
            json={"description": description, "kind": new_kind, "relations": relations, "schema": schema, "title": title, "visibility": visibility},
        )

    def list_records(
        self,
        org: str,
        kind: str,
        *,
        limit: int | Unset = UNSET,
        mine: bool | Unset = UNSET,
        linked_to: str | Unset = UNSET,
        relation: str | Unset = UNSET,
    ) -> Pages[Record]:
        """List a collection's records.

        org: The organization.
        kind: The collection's name.
        limit: How many items to return at most.
        mine: Only the caller's own records.
        linked_to: Only records that link to this record or file.
        relation: With linked_to: by links of this relation alone.

        GET /v1/orgs/{org}/collections/{kind}/records, action record.list
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/collections/{kind}/records",
            {"org": org, "kind": kind},
            Record,
            query={"limit": limit, "mine": mine, "linked_to": linked_to, "relation": relation},
            purpose=True,
        )

    def create_record(
        self,
        org: str,
        kind: str,
        *,
        content: Mapping[str, Any],
        idempotency_key: str | Unset = UNSET,
        links: Sequence[NewLinkInput] | Unset = UNSET,
        visibility: Literal["organization", "private"] | Unset = UNSET,
    ) -> Record:
        """Create a record.

        org: The organization.
        kind: The collection's name.
        content: An object that the collection's schema accepts.
        idempotency_key: A key of one's own, to repeat the request from elsewhere.
        links: Links from the record, made together with it or not at all.
        visibility: private: only the owner sees it, and the people she shares it with. Default: what the
            collection says.

        POST /v1/orgs/{org}/collections/{kind}/records, action record.create
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/collections/{kind}/records",
            {"org": org, "kind": kind},
            Record,
            json={"content": content, "links": links, "visibility": visibility},
            idempotency_key=idempotency_key,
            keyed=True,
        )

    def get_record(self, org: str, kind: str, id: str) -> Record:
        """Read a record.

        org: The organization.
        kind: The collection's name.
        id: The record.

        GET /v1/orgs/{org}/collections/{kind}/records/{id}, action record.read
        """
        return self._call(
            "GET",
            "/v1/orgs/{org}/collections/{kind}/records/{id}",
            {"org": org, "kind": kind, "id": id},
            Record,
            purpose=True,
        )

    def update_record(
        self,
        org: str,
        kind: str,
        id: str,
        *,
        if_match: int,
        content: Mapping[str, Any],
        visibility: Literal["organization", "private"] | Unset = UNSET,
    ) -> Record:
        """Replace a record's content.

        org: The organization.
        kind: The collection's name.
        id: The record.
        if_match: The version that was read.
        content: An object that the collection's schema accepts. It replaces the one that is there.
        visibility: Only the owner changes it. Default: as it is.

        PUT /v1/orgs/{org}/collections/{kind}/records/{id}, action record.update
        """
        return self._call(
            "PUT",
            "/v1/orgs/{org}/collections/{kind}/records/{id}",
            {"org": org, "kind": kind, "id": id},
            Record,
            headers={"If-Match": if_match},
            json={"content": content, "visibility": visibility},
        )

    def delete_record(self, org: str, kind: str, id: str, *, if_match: int) -> None:
        """Move a record to the trash.

        org: The organization.
        kind: The collection's name.
        id: The record.
        if_match: The version that was read.

        DELETE /v1/orgs/{org}/collections/{kind}/records/{id}, action record.delete
        """
        self._call(
            "DELETE",
            "/v1/orgs/{org}/collections/{kind}/records/{id}",
            {"org": org, "kind": kind, "id": id},
            None,
            headers={"If-Match": if_match},
        )

    def record_history(self, org: str, kind: str, id: str, *, limit: int | Unset = UNSET) -> Pages[Version]:
        """List a record's versions: who, when, what.

        org: The organization.
        kind: The collection's name.
        id: The record.
        limit: How many items to return at most.

        GET /v1/orgs/{org}/collections/{kind}/records/{id}/history, action record.history
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/collections/{kind}/records/{id}/history",
            {"org": org, "kind": kind, "id": id},
            Version,
            query={"limit": limit},
            purpose=True,
        )

    def get_sharing(self, org: str, kind: str, id: str) -> Sharing:
        """Say who sees one's own record.

        org: The organization.
        kind: The collection's name.
        id: The record.

        GET /v1/orgs/{org}/collections/{kind}/records/{id}/sharing, action record.share
        """
        return self._call(
            "GET",
            "/v1/orgs/{org}/collections/{kind}/records/{id}/sharing",
            {"org": org, "kind": kind, "id": id},
            Sharing,
        )

    def set_sharing(
        self,
        org: str,
        kind: str,
        id: str,
        *,
        visibility: Literal["organization", "private"],
        people: Sequence[str],
    ) -> Sharing:
        """Change who sees one's own record.

        The people of a private record see it, its history and the owner's private files that she linked it
        to. Whoever is left out sees them no more.

        org: The organization.
        kind: The collection's name.
        id: The record.
        people: Who sees a private record beside its owner: members of the organization.

        PUT /v1/orgs/{org}/collections/{kind}/records/{id}/sharing, action record.share
        """
        return self._call(
            "PUT",
            "/v1/orgs/{org}/collections/{kind}/records/{id}/sharing",
            {"org": org, "kind": kind, "id": id},
            Sharing,
            json={"visibility": visibility, "people": people},
        )

    def restore_record(self, org: str, kind: str, id: str) -> Record:
        """Take a record back out of the trash.

        org: The organization.
        kind: The collection's name.
        id: The record.

        POST /v1/orgs/{org}/collections/{kind}/records/{id}:restore, action record.restore
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/collections/{kind}/records/{id}:restore",
            {"org": org, "kind": kind, "id": id},
            Record,
        )

    def create_records(
        self,
        org: str,
        kind: str,
        *,
        items: Sequence[NewRecordInput],
        idempotency_key: str | Unset = UNSET,
    ) -> CreateRecordsResponse:
        """Create many records.

        Records are created in chunks of 500, each a transaction and an audit event of its own. With an
        Idempotency-Key a repeated request goes on where the first one stopped.

        org: The organization.
        kind: The collection's name.
        idempotency_key: A key of one's own, to repeat the request from elsewhere.

        POST /v1/orgs/{org}/collections/{kind}/records:bulk, action record.create
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/collections/{kind}/records:bulk",
            {"org": org, "kind": kind},
            CreateRecordsResponse,
            json={"items": items},
            idempotency_key=idempotency_key,
            keyed=True,
        )

    def list_links(
        self,
        org: str,
        kind: str,
        id: str,
        *,
        limit: int | Unset = UNSET,
        direction: Literal["in", "out"] | Unset = UNSET,
        relation: str | Unset = UNSET,
    ) -> Pages[Link]:
        """List a record's links, both ways.

        org: The organization.
        kind: The collection's name.
        id: The record.
        limit: How many items to return at most.
        direction: Only links that end or begin at the record.
        relation: Only links of this relation.

        GET /v1/orgs/{org}/collections/{kind}/records/{id}/links, action link.list
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/collections/{kind}/records/{id}/links",
            {"org": org, "kind": kind, "id": id},
            Link,
            query={"limit": limit, "direction": direction, "relation": relation},
            purpose=True,
        )

    def create_link(self, org: str, kind: str, id: str, *, relation: str, to: str) -> Link:
        """Link a record to a record or a file.

        org: The organization.
        kind: The collection's name.
        id: The record.
        relation: What the target is to the record, as in measurement or source.
        to: A record or a file of the organization.

        POST /v1/orgs/{org}/collections/{kind}/records/{id}/links, action link.create
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/collections/{kind}/records/{id}/links",
            {"org": org, "kind": kind, "id": id},
            Link,
            json={"relation": relation, "to": to},
        )

    def delete_link(self, org: str, kind: str, id: str, link: str) -> None:
        """Remove a link.

        One by which fields of the record are about a person stays as long as they are there.

        org: The organization.
        kind: The collection's name.
        id: The record.
        link: The link.

        DELETE /v1/orgs/{org}/collections/{kind}/records/{id}/links/{link}, action link.delete
        """
        self._call(
            "DELETE",
            "/v1/orgs/{org}/collections/{kind}/records/{id}/links/{link}",
            {"org": org, "kind": kind, "id": id, "link": link},
            None,
        )

    def list_files(
        self,
        org: str,
        *,
        limit: int | Unset = UNSET,
        linked_from: str | Unset = UNSET,
    ) -> Pages[File]:
        """List the files.

        org: The organization.
        limit: How many items to return at most.
        linked_from: Only files that this record links to.

        GET /v1/orgs/{org}/files, action file.list
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/files",
            {"org": org},
            File,
            query={"limit": limit, "linked_from": linked_from},
            purpose=True,
        )

    def upload_file(
        self,
        org: str,
        body: BinaryIO | bytes,
        *,
        idempotency_key: str | Unset = UNSET,
        filename: str | Unset = UNSET,
        visibility: str | Unset = UNSET,
        media_type: str | Unset = UNSET,
    ) -> File:
        """Store a file.

        The body is the file's bytes, whatever they are. Its name is in Content-Disposition, as filename*
        (RFC 8187) or filename; its media type is the Content-Type. The answer comes once the bytes are
        durable. With an Idempotency-Key a repeated upload of the same name, type and length answers with
        the file of the first one.

        org: The organization.
        body: The bytes, of any media type.
        idempotency_key: A key of one's own, to repeat the request from elsewhere.
        filename: The file's name.
        visibility: private: only the owner sees it. Default: organization.
        media_type: Of the bytes.

        POST /v1/orgs/{org}/files, action file.upload
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/files",
            {"org": org},
            File,
            headers={"Content-Disposition": filename, "Visibility": visibility},
            stream=body,
            media_type=media_type,
            idempotency_key=idempotency_key,
            keyed=True,
        )

    def get_file(self, org: str, id: str) -> File:
        """Describe a file.

        org: The organization.
        id: The file.

        GET /v1/orgs/{org}/files/{id}, action file.read
        """
        return self._call(
            "GET",
            "/v1/orgs/{org}/files/{id}",
            {"org": org, "id": id},
            File,
            purpose=True,
        )

    def delete_file(self, org: str, id: str, *, if_match: int) -> None:
        """Move a file to the trash.

        org: The organization.
        id: The file.
        if_match: The version that was read.

        DELETE /v1/orgs/{org}/files/{id}, action file.delete
        """
        self._call(
            "DELETE",
            "/v1/orgs/{org}/files/{id}",
            {"org": org, "id": id},
            None,
            headers={"If-Match": if_match},
        )

    def download_file(
        self,
        org: str,
        id: str,
        *,
        version: int | Unset = UNSET,
        range: str | Unset = UNSET,
        if_range: str | Unset = UNSET,
        if_none_match: str | Unset = UNSET,
    ) -> Download:
        """Fetch a file's bytes.

        One range of bytes is served (RFC 9110, section 14); a request for several gets the whole.

        org: The organization.
        id: The file.
        version: An earlier version. Default: the newest.
        range: bytes=0-99, bytes=100- or bytes=-100
        if_range: The version that the range is meant for; for another one the whole is sent.
        if_none_match: Versions that the caller has already.

        GET /v1/orgs/{org}/files/{id}/content, action file.download
        """
        return self._download(
            "GET",
            "/v1/orgs/{org}/files/{id}/content",
            {"org": org, "id": id},
            query={"version": version},
            headers={"Range": range, "If-Range": if_range, "If-None-Match": if_none_match},
            purpose=True,
        )

    def replace_file(
        self,
        org: str,
        id: str,
        body: BinaryIO | bytes,
        *,
        if_match: int,
        filename: str | Unset = UNSET,
        media_type: str | Unset = UNSET,
    ) -> File:
        """Store a new version of a file.

        Without Content-Disposition the file keeps its name, without Content-Type its media type. Earlier
        versions stay.

        org: The organization.
        id: The file.
        body: The bytes, of any media type.
        if_match: The version that was read.
        filename: The file's name.
        media_type: Of the bytes.

        PUT /v1/orgs/{org}/files/{id}/content, action file.upload
        """
        return self._call(
            "PUT",
            "/v1/orgs/{org}/files/{id}/content",
            {"org": org, "id": id},
            File,
            headers={"If-Match": if_match, "Content-Disposition": filename},
            stream=body,
            media_type=media_type,
        )

    def file_history(self, org: str, id: str, *, limit: int | Unset = UNSET) -> Pages[FilesVersion]:
        """List a file's versions, the newest first.

        org: The organization.
        id: The file.
        limit: How many items to return at most.

        GET /v1/orgs/{org}/files/{id}/history, action file.read
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/files/{id}/history",
            {"org": org, "id": id},
            FilesVersion,
            query={"limit": limit},
            purpose=True,
        )

    def preview_file(
        self,
        org: str,
        id: str,
        *,
        size: Literal["256", "1024"] | Unset = UNSET,
        version: int | Unset = UNSET,
    ) -> Download:
        """Show a stored picture small.

        PNG, JPEG, GIF (the first frame), BMP and TIFF (the first page) become a PNG. Grey of 16 bits is
        stretched, the darkest and brightest thousandth aside, so that it can be seen: the header
        Strongroom-Picture says from which value to which. What is no picture, or one that takes too much
        work, is refused with 415 and a code that says why.

        org: The organization.
        id: The file.
        size: The longer side in pixels, at most.
        version: An earlier version. Default: the newest.

        GET /v1/orgs/{org}/files/{id}/preview, action file.preview
        """
        return self._download(
            "GET",
            "/v1/orgs/{org}/files/{id}/preview",
            {"org": org, "id": id},
            query={"size": size, "version": version},
            purpose=True,
        )

    def restore_file(self, org: str, id: str) -> File:
        """Take a file back out of the trash.

        org: The organization.
        id: The file.

        POST /v1/orgs/{org}/files/{id}:restore, action file.restore
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/files/{id}:restore",
            {"org": org, "id": id},
            File,
        )

    def list_trash(
        self,
        org: str,
        *,
        limit: int | Unset = UNSET,
        kind: Literal["record", "file"] | Unset = UNSET,
    ) -> Pages[Trashed]:
        """List what can be taken back out of the trash, the latest first.

        org: The organization.
        limit: How many items to return at most.
        kind: Only records, or only files.

        GET /v1/orgs/{org}/trash, action trash.list
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/trash",
            {"org": org},
            Trashed,
            query={"limit": limit, "kind": kind},
            purpose=True,
        )

    def run_export(
        self,
        org: str,
        *,
        scope: Literal["record", "collection", "organization"],
        collection: str | Unset = UNSET,
        record: str | Unset = UNSET,
    ) -> Download:
        """Export a record, a collection or everything.

        The answer is a ZIP of NDJSON, CSV, files and a manifest of hashes, written while it is read. The
        manifest is the last entry: a download that broke off has none. Every page of data is on the audit
        log before it is sent.

        org: The organization.
        scope: How much to export.
        collection: The collection's name; for the scopes record and collection.
        record: The record; for the scope record.

        POST /v1/orgs/{org}/export, action export.run
        """
        return self._download(
            "POST",
            "/v1/orgs/{org}/export",
            {"org": org},
            json={"scope": scope, "collection": collection, "record": record},
            purpose=True,
        )

    def list_exports(self, org: str, *, limit: int | Unset = UNSET) -> Pages[Export]:
        """List the exports that one had made.

        org: The organization.
        limit: How many items to return at most.

        GET /v1/orgs/{org}/exports, action export.read
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/exports",
            {"org": org},
            Export,
            query={"limit": limit},
            purpose=True,
        )

    def start_export(
        self,
        org: str,
        *,
        scope: Literal["record", "collection", "project", "file", "organization"],
        collection: str | Unset = UNSET,
        file: str | Unset = UNSET,
        format: Literal["zip", "ndjson", "csv"] | Unset = UNSET,
        record: str | Unset = UNSET,
    ) -> Export:
        """Have an export made.

        It is made in the background and can be fetched for 24 hours, by whoever asked for it and nobody
        else.

        org: The organization.
        scope: How much: a project is a record and all that leads to it by links.
        collection: The collection's name; for the scopes record, collection and project.
        file: The file; for the scope file.
        format: zip holds everything, with files, history and a manifest of hashes; ndjson and csv hold the
            records alone, csv of one collection. Default: zip.
        record: The record; for the scopes record and project.

        POST /v1/orgs/{org}/exports, action export.create
        """
        return self._call(
            "POST",
            "/v1/orgs/{org}/exports",
            {"org": org},
            Export,
            json={"scope": scope, "collection": collection, "file": file, "format": format, "record": record},
        )

    def get_export(self, org: str, id: str) -> Export:
        """See how far an export is.

        org: The organization.
        id: The export.

        GET /v1/orgs/{org}/exports/{id}, action export.read
        """
        return self._call(
            "GET",
            "/v1/orgs/{org}/exports/{id}",
            {"org": org, "id": id},
            Export,
            purpose=True,
        )

    def delete_export(self, org: str, id: str) -> None:
        """Remove an export before its day is over.

        org: The organization.
        id: The export.

        DELETE /v1/orgs/{org}/exports/{id}, action export.expire
        """
        self._call(
            "DELETE",
            "/v1/orgs/{org}/exports/{id}",
            {"org": org, "id": id},
            None,
        )

    def download_export(self, org: str, id: str) -> Download:
        """Fetch an export.

        org: The organization.
        id: The export.

        GET /v1/orgs/{org}/exports/{id}/content, action export.download
        """
        return self._download(
            "GET",
            "/v1/orgs/{org}/exports/{id}/content",
            {"org": org, "id": id},
            purpose=True,
        )

    def list_audit(
        self,
        org: str,
        *,
        limit: int | Unset = UNSET,
        from_: int | Unset = UNSET,
        before: int | Unset = UNSET,
        since: datetime | Unset = UNSET,
        until: datetime | Unset = UNSET,
    ) -> Pages[AuditEvent]:
        """Read the organization's log, newest event first.

        An event has its place in the log some milliseconds after its request was answered: one that is
        still on its way is on the next page read, never lost. With since or until a page may hold fewer
        events than asked for, or none, and still have a next one.

        org: The organization.
        limit: How many items to return at most.
        from_: Only events with this idx or a higher one.
        before: Only events with a lower idx.
        since: Only events of this time and later, to the millisecond.
        until: Only events before this time, to the millisecond.

        GET /v1/orgs/{org}/audit, action trail.read
        """
        return self._list(
            "GET",
            "/v1/orgs/{org}/audit",
            {"org": org},
            AuditEvent,
            query={"limit": limit, "from": from_, "before": before, "since": since, "until": until},
            purpose=True,
        )

    def list_plans(self, *, limit: int | Unset = UNSET) -> Pages[Plan]:
        """List the plans.

        limit: How many items to return at most.

        GET /v1/plans, action plan.list
        """
        return self._list(
            "GET",
            "/v1/plans",
            {},
            Plan,
            query={"limit": limit},
        )

    def get_plan(self, plan: str) -> Plan:
        """Read a plan.

        plan: The plan: pilot, team or enterprise.

        GET /v1/plans/{plan}, action plan.list
        """
        return self._call(
            "GET",
            "/v1/plans/{plan}",
            {"plan": plan},
            Plan,
        )

    def update_plan(
        self,
        plan: str,
        *,
        if_match: int,
        title: str,
        description: str,
        features: FeaturesInput,
        audit: Literal["none", "basic", "full"],
        limits: LimitsInput,
        periods: PeriodsInput,
    ) -> Plan:
        """Change what a plan has.

        The whole plan is sent. It counts from the answer on, for every organization on it.

        plan: The plan: pilot, team or enterprise.
        if_match: The version that was read.
        audit: What the organization's people can do with their log, which is written in every plan. none:
            nothing; basic: read it; full: export it too, and keep it longer.

        PUT /v1/plans/{plan}, action plan.update
        """
        return self._call(
            "PUT",
            "/v1/plans/{plan}",
            {"plan": plan},
            Plan,
            headers={"If-Match": if_match},
            json={"title": title, "description": description, "features": features, "audit": audit, "limits": limits, "periods": periods},
        )

    def list_reports(
        self,
        *,
        limit: int | Unset = UNSET,
        state: Literal["open", "acknowledged", "closed"] | Unset = UNSET,
    ) -> Pages[Line]:
        """List reports of vulnerabilities.

        limit: How many items to return at most.
        state: Only reports in this state.

        GET /v1/reports, action report.list
        """
        return self._list(
            "GET",
            "/v1/reports",
            {},
            Line,
            query={"limit": limit, "state": state},
        )

    def create_report(self, *, title: str, description: str, contact: str | Unset = UNSET) -> Receipt:
        """Report a vulnerability.

        Open to everybody. The report is sealed; system administrators read it. The answer holds a
        reference.

        title: One line.
        description: What is wrong, how to see it, what it lets somebody do.
        contact: Where to answer; may be left out.

        POST /v1/reports, action report.create
        """
        return self._call(
            "POST",
            "/v1/reports",
            {},
            Receipt,
            json={"title": title, "description": description, "contact": contact},
            signed=False,
        )

    def get_report(self, report: str) -> Report:
        """Read a report of a vulnerability.

        report: The report.

        GET /v1/reports/{report}, action report.read
        """
        return self._call(
            "GET",
            "/v1/reports/{report}",
            {"report": report},
            Report,
        )

    def update_report(
        self,
        report: str,
        *,
        if_match: int,
        state: Literal["open", "acknowledged", "closed"],
        note: str | Unset = UNSET,
    ) -> Report:
        """Acknowledge or close a report of a vulnerability.

        report: The report.
        if_match: The version that was read.
        note: What was found or done; replaces the note before.

        PUT /v1/reports/{report}, action report.update
        """
        return self._call(
            "PUT",
            "/v1/reports/{report}",
            {"report": report},
            Report,
            headers={"If-Match": if_match},
            json={"state": state, "note": note},
        )

    def get_status(self) -> Status:
        """See how the installation stands.

        GET /v1/status, action status.read
        """
        return self._call(
            "GET",
            "/v1/status",
            {},
            Status,
        )


__all__ = [
    "Operations",
    "ActionGroup",
    "ActionWords",
    "Alarm",
    "AuditEvent",
    "Certificate",
    "Collection",
    "Commitment",
    "CreateRecordsResponse",
    "Created",
    "CreatedKey",
    "CreatedOrg",
    "Disk",
    "Events",
    "Export",
    "Features",
    "FeaturesInput",
    "File",
    "FilesVersion",
    "GuardianStatus",
    "Jobs",
    "JoinCode",
    "Key",
    "Kit",
    "KitCollection",
    "Limits",
    "LimitsInput",
    "Line",
    "Link",
    "Made",
    "Member",
    "NewLinkInput",
    "NewPersonInput",
    "NewRecordInput",
    "Org",
    "OrgRoles",
    "OrganizationInput",
    "PageKit",
    "Periods",
    "PeriodsInput",
    "Person",
    "PersonName",
    "Places",
    "Plan",
    "Proofs",
    "Receipt",
    "Record",
    "Relation",
    "RelationInput",
    "Report",
    "RoleTable",
    "RoleWords",
    "RunSetupResponse",
    "Sandbox",
    "Service",
    "Session",
    "SetupStatus",
    "Sharing",
    "SignedIn",
    "Status",
    "StatusStatus",
    "Trashed",
    "Version",
    "Who",
    "ZoneStatus",
]
