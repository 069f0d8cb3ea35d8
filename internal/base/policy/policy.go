// Package policy decides who may do what. It is pure: no I/O, no clock.
//
// Six roles, each a set of actions; nothing is allowed that the table does not
// name. A person holds one or more roles in each organization she belongs to,
// and SystemAdmin on the installation. The table is printed for people who do
// not read Go in testdata/roles.golden, which a test holds equal to it.
package policy

import "slices"

// Role is one of the six predefined roles (IAM-6).
type Role string

// The six roles.
const (
	Scientist     Role = "scientist"
	Analyst       Role = "analyst"
	OrgAdmin      Role = "org_admin"
	SecurityAdmin Role = "security_admin"
	BillingAdmin  Role = "billing_admin"
	SystemAdmin   Role = "system_admin" // of the installation; reads no customer data by it
)

// Roles lists the roles in the order people read them.
var Roles = []Role{Scientist, Analyst, OrgAdmin, SecurityAdmin, BillingAdmin, SystemAdmin}

// Action is one thing that somebody may be allowed to do.
type Action string

// The actions inside an organization.
const (
	OrgRead          Action = "org.read"
	OrgUpdate        Action = "org.update"
	MemberList       Action = "member.list"
	MemberNames      Action = "member.names"
	MemberAdd        Action = "member.add"
	MemberUpdate     Action = "member.update"
	MemberRemove     Action = "member.remove"
	KeyList          Action = "key.list"
	KeyCreate        Action = "key.create"
	KeyRevoke        Action = "key.revoke"
	CollectionList   Action = "collection.list"
	CollectionRead   Action = "collection.read"
	CollectionCreate Action = "collection.create"
	CollectionUpdate Action = "collection.update"
	KitList          Action = "kit.list"
	KitInstall       Action = "kit.install"
	RecordCreate     Action = "record.create"
	RecordRead       Action = "record.read"
	RecordList       Action = "record.list"
	RecordUpdate     Action = "record.update"
	RecordHistory    Action = "record.history"
	RecordDelete     Action = "record.delete"     // one's own, to the trash
	RecordDeleteAny  Action = "record.delete_any" // anybody's
	RecordRestore    Action = "record.restore"
	RecordShare      Action = "record.share" // one's own private record, with people
	LinkList         Action = "link.list"
	LinkCreate       Action = "link.create"
	LinkDelete       Action = "link.delete"
	FileUpload       Action = "file.upload"
	FileRead         Action = "file.read"
	FileList         Action = "file.list"
	FileDownload     Action = "file.download"
	FilePreview      Action = "file.preview"
	FileDelete       Action = "file.delete"
	FileDeleteAny    Action = "file.delete_any"
	FileRestore      Action = "file.restore"
	FileSweep        Action = "file.sweep" // the job that clears an upload that never ended
	TrashList        Action = "trash.list"
	RequestForget    Action = "request.forget" // the job that forgets keys of repeatable requests
	ExportRun        Action = "export.run"
	ExportCreate     Action = "export.create" // an archive to fetch later
	ExportRead       Action = "export.read"
	ExportDownload   Action = "export.download"
	ExportBuild      Action = "export.build"  // the job that makes the archive
	ExportExpire     Action = "export.expire" // the job that removes it
	TrailRead        Action = "trail.read"
)

// The actions of the installation.
const (
	SessionCreate  Action = "session.create"
	SessionRead    Action = "session.read"
	SessionEnd     Action = "session.end"
	PasswordChange Action = "password.change" // one's own
	JoinCode       Action = "join_code.create"
	CredentialUse  Action = "credential.use" // a session or key is kept as still in use
	OrgList        Action = "org.list"       // one's own
	OrgListAll     Action = "org.list_all"   // everybody's: ids, names and plans, no data
	OrgCreate      Action = "org.create"
	RolesRead      Action = "roles.read" // the table of this package, which is public
	SandboxCreate  Action = "sandbox.create"
	SandboxList    Action = "sandbox.list"
	SandboxEnd     Action = "sandbox.end"
	SandboxExpire  Action = "sandbox.expire" // the job that ends those whose time has come
	AdminCreate    Action = "admin.create"
	SetupRead      Action = "setup.read" // whether the installation waits for its first administrator
	SetupRun       Action = "setup.run"
	StatusRead     Action = "status.read"
	KeysStatus     Action = "keys.status"
	ProveRun       Action = "prove.run"
	ProofRead      Action = "proof.read"       // as the public page is made of them
	ProofStore     Action = "proof.store"      // what a check found
	TrustKeyCreate Action = "trust_key.create" // the key that signs the public page
	ReportCreate   Action = "report.create"    // of a vulnerability
	ReportList     Action = "report.list"
	ReportRead     Action = "report.read"
	ReportUpdate   Action = "report.update"
	PlanList       Action = "plan.list"
	PlanUpdate     Action = "plan.update"
	// Unrouted stands for a request that named no operation, or was refused
	// before its operation was known.
	Unrouted Action = "unrouted"
)

var view = []Action{OrgRead, MemberNames, CollectionList, CollectionRead, KitList, RecordRead, RecordList, RecordHistory, LinkList, FileRead, FileList, FileDownload, FilePreview}

var allowed = map[Role][]Action{
	Scientist: slices.Concat(view, []Action{
		RecordCreate, RecordUpdate, RecordDelete, RecordRestore, RecordShare, LinkCreate, LinkDelete, FileUpload, FileDelete, FileRestore, FileSweep, TrashList, RequestForget}),
	Analyst: slices.Concat(view, []Action{ExportRun, ExportCreate, ExportRead, ExportDownload, ExportBuild, ExportExpire}),
	OrgAdmin: {OrgRead, OrgUpdate, MemberNames, MemberList, MemberAdd, MemberUpdate, MemberRemove, KeyList, KeyCreate, KeyRevoke,
		CollectionList, CollectionRead, CollectionCreate, CollectionUpdate, KitList, KitInstall, RecordDelete, RecordDeleteAny, RecordRestore, FileDelete, FileDeleteAny, FileRestore, TrashList, RequestForget},
	SecurityAdmin: {OrgRead, MemberNames, MemberList, KeyList, KeyRevoke, TrailRead},
	BillingAdmin:  {OrgRead},
	SystemAdmin: {OrgListAll, OrgCreate, SandboxExpire, AdminCreate, StatusRead, KeysStatus, ProveRun, ProofRead, ProofStore, TrustKeyCreate,
		ReportList, ReportRead, ReportUpdate, PlanList, PlanUpdate},
}

// Allow reports whether somebody who holds roles may perform action.
func Allow(roles []Role, action Action) bool {
	for _, r := range roles {
		if slices.Contains(allowed[r], action) {
			return true
		}
	}
	return false
}

// reads lists the actions that change nothing: their transactions are READ
// ONLY and their events are written by group commit.
var reads = []Action{OrgRead, RolesRead, MemberNames, MemberList, KeyList, CollectionList, CollectionRead, KitList, RecordRead, RecordList, RecordHistory,
	LinkList, FileRead, FileList, FileDownload, FilePreview, TrashList, ExportRun, ExportRead, ExportDownload, TrailRead, SessionRead, OrgList, OrgListAll, SandboxList, StatusRead, KeysStatus, SetupRead,
	ProofRead, ReportList, ReportRead, PlanList}

// IsRead reports whether action changes nothing.
func IsRead(action Action) bool { return slices.Contains(reads, action) }

// Actions lists every action, in the order of the matrix.
func Actions() (all []Action) {
	for _, g := range Groups() {
		all = append(all, g.Actions...)
	}
	return all
}

// IsOrgRole reports whether r can be held in an organization.
func IsOrgRole(r Role) bool { return r != SystemAdmin && slices.Contains(Roles, r) }
