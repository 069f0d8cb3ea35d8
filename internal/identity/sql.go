package identity

import "strongroom/internal/store/platform"

// Every statement that this package runs. Names are qualified: the platform's
// login has no schema of its own on its path. Row-level security narrows each
// to the organization that the transaction entered, or leaves all to the
// installation.

var (
	sqlFindPerson = platform.Lit(`
SELECT id, email_token, leaf, version, profile, password, platform_roles, state
FROM platform.person WHERE email_token = ANY($1)`)

	sqlGetPerson = platform.Lit(`
SELECT id, email_token, leaf, version, profile, password, platform_roles, state
FROM platform.person WHERE id = $1`)

	// FOR SHARE makes a sign-in and a change of the same person's password
	// wait for each other.
	sqlPersonVersion = platform.Lit(`SELECT version, state FROM platform.person WHERE id = $1 FOR SHARE`)

	sqlInsertPerson = platform.Lit(`
INSERT INTO platform.person (id, email_token, leaf, version, profile, password, platform_roles, created_at)
VALUES ($1, $2, $3, 1, $4, $5, $6, $7)`)

	sqlReplaceSealed = platform.Lit(`
UPDATE platform.person SET version = $3, profile = $4, password = $5 WHERE id = $1 AND version = $2`)

	sqlSystemAdminExists = platform.Lit(`
SELECT EXISTS (SELECT FROM platform.person WHERE 'system_admin' = ANY(platform_roles) AND state = 'active')`)

	sqlInsertSession = platform.Lit(`
INSERT INTO platform.session (id, person_id, token_hash, created_at, last_seen_at, idle_until, expires_at)
VALUES ($1, $2, $3, $4, $4, $5, $6)`)

	// One row for each membership, and one with nulls where there is none.
	sqlFindSession = platform.Lit(`
SELECT s.id, s.idle_until, p.id, p.leaf, p.platform_roles, m.org_id, m.roles
FROM platform.session s
JOIN platform.person p ON p.id = s.person_id AND p.state = 'active'
LEFT JOIN (platform.membership m JOIN platform.org o ON o.id = m.org_id AND o.state = 'active' AND (o.expires_at IS NULL OR o.expires_at > $2))
 ON m.person_id = p.id
WHERE s.token_hash = ANY($1) AND s.ended_at IS NULL AND s.expires_at > $2 AND s.idle_until > $2`)

	sqlGetSession = platform.Lit(`
SELECT s.created_at, least(s.expires_at, s.idle_until), s.expires_at
FROM platform.session s WHERE s.id = $1 AND s.person_id = $2 AND s.ended_at IS NULL`)

	sqlRenewSession = platform.Lit(`
UPDATE platform.session SET last_seen_at = $2, idle_until = least($3, expires_at) WHERE id = $1 AND ended_at IS NULL`)

	sqlEndSession = platform.Lit(`
UPDATE platform.session SET ended_at = $3 WHERE id = $1 AND person_id = $2 AND ended_at IS NULL`)

	sqlEndSessions = platform.Lit(`
UPDATE platform.session SET ended_at = $2 WHERE person_id = $1 AND ended_at IS NULL`)

	// A key is worth no more than what its maker still may do: the join drops
	// it with the maker's membership.
	sqlFindKey = platform.Lit(`
SELECT k.org_id, k.id, k.roles, k.scopes, k.last_used_at, k.created_by, p.leaf, m.roles
FROM platform.api_key k
JOIN platform.org o ON o.id = k.org_id AND o.state = 'active' AND (o.expires_at IS NULL OR o.expires_at > $2)
JOIN platform.membership m ON m.org_id = k.org_id AND m.person_id = k.created_by
JOIN platform.person p ON p.id = k.created_by AND p.state = 'active'
WHERE k.secret_hash = ANY($1) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)`)

	sqlUseKey = platform.Lit(`UPDATE platform.api_key SET last_used_at = $3 WHERE org_id = $1 AND id = $2 AND revoked_at IS NULL`)

	sqlOrgsOfPerson = platform.Lit(`
SELECT o.id, o.profile, o.version, o.placement, o.plan, o.state, o.created_at, o.expires_at, m.roles, m.owner
FROM platform.membership m JOIN platform.org o ON o.id = m.org_id AND o.state = 'active' AND (o.expires_at IS NULL OR o.expires_at > now())
WHERE m.person_id = $1 AND ($2::uuid IS NULL OR o.id > $2) ORDER BY o.id LIMIT $3`)

	sqlAllOrgs = platform.Lit(`
SELECT o.id, o.profile, o.version, o.placement, o.plan, o.state, o.created_at, o.expires_at, m.roles, coalesce(m.owner, false)
FROM platform.org o LEFT JOIN platform.membership m ON m.org_id = o.id AND m.person_id = $1
WHERE o.plan <> 'installation' AND ($2::uuid IS NULL OR o.id > $2) ORDER BY o.id LIMIT $3`)

	sqlGetOrg = platform.Lit(`
SELECT o.id, o.profile, o.version, o.placement, o.plan, o.state, o.created_at, o.expires_at, m.roles, coalesce(m.owner, false)
FROM platform.org o LEFT JOIN platform.membership m ON m.org_id = o.id AND m.person_id = $2
WHERE o.id = $1`)

	// The row of the installation is the turnstile: it exists, and nothing else
	// waits for it.
	sqlLockSandboxes = platform.Lit(`SELECT id FROM platform.org WHERE plan = 'installation' FOR NO KEY UPDATE`)

	sqlCountSandboxes = platform.Lit(`
SELECT count(*) FILTER (WHERE sandbox_of = $1 AND state = 'active' AND expires_at > $2),
       count(*) FILTER (WHERE sandbox_of = $1 AND created_at > $3),
       count(*) FILTER (WHERE state = 'active' AND expires_at > $2)
FROM platform.org WHERE sandbox_of IS NOT NULL`)

	sqlMakeSandbox = platform.Lit(`UPDATE platform.org SET sandbox_of = $2, expires_at = $3 WHERE id = $1`)

	sqlListSandboxes = platform.Lit(`
SELECT id, profile, version, CASE WHEN expires_at > now() AND state = 'active' THEN 'active' ELSE 'expired' END, created_at, expires_at
FROM platform.org WHERE sandbox_of = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3`)

	sqlExpiredSandboxes = platform.Lit(`
SELECT id FROM platform.org WHERE state = 'active' AND expires_at IS NOT NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2`)

	sqlIsSandbox = platform.Lit(`SELECT sandbox_of IS NOT NULL FROM platform.org WHERE id = $1`)

	sqlGetSandbox = platform.Lit(`SELECT sandbox_of, state FROM platform.org WHERE id = $1 AND sandbox_of IS NOT NULL FOR NO KEY UPDATE`)

	sqlEndSandbox = platform.Lit(`UPDATE platform.org SET state = 'expired', expires_at = least(expires_at, $2) WHERE id = $1`)

	sqlRevokeKeysIn = platform.Lit(`UPDATE platform.api_key SET revoked_at = $2 WHERE org_id = $1 AND revoked_at IS NULL RETURNING id`)

	sqlDeleteMemberships = platform.Lit(`DELETE FROM platform.membership WHERE org_id = $1 RETURNING person_id`)

	// The row as it is, so that two new names come one after the other.
	sqlLockOrgVersion = platform.Lit(`SELECT version FROM platform.org WHERE id = $1 AND state = 'active' FOR NO KEY UPDATE`)

	sqlSetOrgName = platform.Lit(`UPDATE platform.org SET profile = $2, version = $3 WHERE id = $1`)

	sqlCloseOrg = platform.Lit(`UPDATE platform.org SET state = 'closed' WHERE id = $1`)

	sqlInsertMembership = platform.Lit(`
INSERT INTO platform.membership (org_id, person_id, roles, owner, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6)`)

	sqlListMembers = platform.Lit(`
SELECT p.id, p.leaf, p.version, p.profile, p.state, m.roles, m.owner, m.created_at
FROM platform.membership m JOIN platform.person p ON p.id = m.person_id
WHERE m.org_id = $1 AND ($2::uuid IS NULL OR m.person_id > $2) ORDER BY m.person_id LIMIT $3`)

	sqlGetMember = platform.Lit(`
SELECT p.id, p.leaf, p.version, p.profile, p.state, m.roles, m.owner, m.created_at
FROM platform.membership m JOIN platform.person p ON p.id = m.person_id
WHERE m.org_id = $1 AND m.person_id = $2`)

	// Every owner, the one who asks and the one it is about, in one order for
	// everybody: two owners who remove each other at the same moment take
	// turns, and the second finds that she is the last.
	sqlLockMembers = platform.Lit(`
SELECT person_id, roles, owner FROM platform.membership
WHERE org_id = $1 AND (owner OR person_id = $2 OR person_id = $3) ORDER BY person_id FOR UPDATE`)

	sqlSetMembership = platform.Lit(`UPDATE platform.membership SET roles = $3, owner = $4 WHERE org_id = $1 AND person_id = $2`)

	sqlDeleteMembership = platform.Lit(`DELETE FROM platform.membership WHERE org_id = $1 AND person_id = $2`)

	sqlRevokeKeysOf = platform.Lit(`
UPDATE platform.api_key SET revoked_at = $3 WHERE org_id = $1 AND created_by = $2 AND revoked_at IS NULL RETURNING id`)

	sqlBelongsElsewhere = platform.Lit(`
SELECT EXISTS (SELECT FROM platform.membership WHERE person_id = $1)
 OR EXISTS (SELECT FROM platform.person WHERE id = $1 AND platform_roles <> '{}')`)

	sqlInsertKey = platform.Lit(`
INSERT INTO platform.api_key (org_id, id, name, leaf, prefix, secret_hash, roles, scopes, created_at, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`)

	sqlListKeys = platform.Lit(`
SELECT id, name, prefix, roles, scopes, created_at, created_by, expires_at, last_used_at, revoked_at
FROM platform.api_key WHERE org_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3`)

	sqlRevokeKey = platform.Lit(`
UPDATE platform.api_key SET revoked_at = $3 WHERE org_id = $1 AND id = $2 AND revoked_at IS NULL`)

	sqlKeyExists = platform.Lit(`SELECT EXISTS (SELECT FROM platform.api_key WHERE org_id = $1 AND id = $2)`)

	sqlMembershipForJob = platform.Lit(`
SELECT p.leaf, m.roles
FROM platform.membership m
JOIN platform.org o ON o.id = m.org_id AND o.state = 'active' AND (o.expires_at IS NULL OR o.expires_at > now())
JOIN platform.person p ON p.id = m.person_id AND p.state = 'active'
WHERE m.org_id = $1 AND m.person_id = $2`)
)
