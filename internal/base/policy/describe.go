package policy

import "slices"

// Standing says what it takes to perform an action besides a role's grant.
// The zero Standing is the strict one: only a role that names the action
// allows it.
type Standing uint8

// The standings.
const (
	ByRole   Standing = iota // only a role that names the action
	SignedIn                 // every caller who has signed in, over what is the caller's own
	Anyone                   // everybody: the act of signing in, a report of a vulnerability
	Nobody                   // a mark in the log, not a power
)

// standings lists the actions that roles do not decide. Each is about the
// caller alone: none of them reaches an organization's data.
var standings = map[Action]Standing{
	SetupRead:      Anyone,
	SetupRun:       Anyone,
	SessionCreate:  Anyone,
	RolesRead:      Anyone,
	ReportCreate:   Anyone,
	SessionRead:    SignedIn,
	SessionEnd:     SignedIn,
	OrgList:        SignedIn,
	SandboxCreate:  SignedIn,
	SandboxList:    SignedIn,
	SandboxEnd:     SignedIn,
	PasswordChange: SignedIn,
	JoinCode:       SignedIn,
	CredentialUse:  SignedIn,
	Unrouted:       Nobody,
}

// StandingOf returns the standing of action.
func StandingOf(action Action) Standing { return standings[action] }

// Open reports whether action needs no role: signedIn says whether the caller
// is known.
func Open(action Action, signedIn bool) bool {
	switch standings[action] {
	case Anyone:
		return true
	case SignedIn:
		return signedIn
	}
	return false
}

// neverDelegated lists what a key for a program does not get, whatever its
// roles say: who can make people and keys can make a stronger key.
var neverDelegated = []Action{MemberAdd, MemberUpdate, MemberRemove, KeyCreate, KeyRevoke}

// Delegable reports whether a key may carry action as a scope.
func Delegable(action Action) bool {
	return words[action] != "" && standings[action] == ByRole && !slices.Contains(neverDelegated, action)
}

// Group is one heading of the matrix.
type Group struct {
	Name    string
	Actions []Action
}

// Groups lists every action under the heading that people look for it by.
func Groups() []Group {
	return []Group{
		{"The organization and its people", []Action{OrgRead, OrgUpdate, MemberNames, MemberList, MemberAdd, MemberUpdate, MemberRemove}},
		{"Keys for programs", []Action{KeyList, KeyCreate, KeyRevoke}},
		{"Collections", []Action{CollectionList, CollectionRead, CollectionCreate, CollectionUpdate, KitList, KitInstall}},
		{"Records", []Action{RecordList, RecordRead, RecordHistory, RecordCreate, RecordUpdate, RecordDelete, RecordDeleteAny, RecordRestore, RecordShare}},
		{"Links between records", []Action{LinkList, LinkCreate, LinkDelete}},
		{"Files", []Action{FileList, FileRead, FileDownload, FilePreview, FileUpload, FileDelete, FileDeleteAny, FileRestore, FileSweep}},
		{"The trash", []Action{TrashList, RequestForget}},
		{"Taking data out, and the log", []Action{ExportRun, ExportCreate, ExportRead, ExportDownload, ExportBuild, ExportExpire, TrailRead}},
		{"The installation", []Action{OrgListAll, OrgCreate, SandboxCreate, SandboxList, SandboxEnd, SandboxExpire, SetupRead, SetupRun, AdminCreate, StatusRead, KeysStatus, ProveRun, ProofRead, ProofStore, TrustKeyCreate,
			PlanList, PlanUpdate, ReportCreate, ReportList, ReportRead, ReportUpdate}},
		{"Signing in", []Action{SessionCreate, SessionRead, SessionEnd, PasswordChange, OrgList, JoinCode, CredentialUse, RolesRead, Unrouted}},
	}
}

var words = map[Action]string{
	OrgRead:          "see the organization's name, plan and settings",
	OrgUpdate:        "change the organization's name",
	MemberNames:      "see the names of the organization's people",
	MemberList:       "see who belongs to the organization, and in which roles",
	MemberAdd:        "add a person to the organization",
	MemberUpdate:     "change a person's roles",
	MemberRemove:     "remove a person from the organization",
	KeyList:          "see which keys exist, never the keys themselves",
	KeyCreate:        "make a key for a program",
	KeyRevoke:        "make a key useless",
	CollectionList:   "see which collections there are",
	CollectionRead:   "see a collection's title and form",
	CollectionCreate: "start a new collection",
	CollectionUpdate: "change a collection's title and form",
	KitList:          "see which kits there are",
	KitInstall:       "start the collections of a kit",
	RecordList:       "list records with their content",
	RecordRead:       "open a record",
	RecordHistory:    "see a record's earlier versions",
	RecordCreate:     "store a new record",
	RecordUpdate:     "change a record",
	RecordDelete:     "put one's own record into the trash",
	RecordDeleteAny:  "put anybody's record into the trash",
	RecordRestore:    "take a record back out of the trash",
	RecordShare:      "say who sees one's own private record",
	LinkList:         "see what a record is linked to",
	LinkCreate:       "link two records",
	LinkDelete:       "remove a link",
	FileList:         "list files by name",
	FileRead:         "see a file's name, type and size",
	FileDownload:     "download a file",
	FilePreview:      "see a stored picture small",
	FileUpload:       "upload a file, or a new version of one",
	FileDelete:       "put one's own file into the trash",
	FileDeleteAny:    "put anybody's file into the trash",
	FileRestore:      "take a file back out of the trash",
	FileSweep:        "clear away an own upload that broke off",
	TrashList:        "see what of one's own is in the trash",
	RequestForget:    "have the keys of repeatable requests forgotten",
	ExportRun:        "export a record, a collection or everything",
	ExportCreate:     "have an archive made, to fetch it later",
	ExportRead:       "see the archives one had made",
	ExportDownload:   "fetch an archive one had made",
	ExportBuild:      "make the archive (a job, for whoever asked for it)",
	ExportExpire:     "remove an archive whose day is over (a job)",
	TrailRead:        "read the organization's log",
	OrgListAll:       "see the list of all organizations, not their data",
	OrgCreate:        "set up a new organization with its first owner",
	SandboxCreate:    "make a throw-away organization that ends by itself",
	SandboxList:      "see one's own throw-away organizations",
	SandboxEnd:       "end one's own throw-away organization before its time",
	SandboxExpire:    "end throw-away organizations whose time has come",
	SetupRead:        "see whether the installation is set up",
	SetupRun:         "set up an empty installation, with its one-time code",
	AdminCreate:      "make somebody a system administrator",
	StatusRead:       "see whether the installation is healthy",
	KeysStatus:       "see whether the key service is healthy",
	ProveRun:         "run the checks that prove the promises",
	ProofRead:        "read what the checks found",
	ProofStore:       "keep what a check found",
	TrustKeyCreate:   "make the key that signs the trust page",
	PlanList:         "see the plans",
	PlanUpdate:       "change what a plan has",
	ReportCreate:     "report a vulnerability",
	ReportList:       "list reports of vulnerabilities",
	ReportRead:       "read a report of a vulnerability",
	ReportUpdate:     "acknowledge or close a report of a vulnerability",
	SessionCreate:    "sign in",
	SessionRead:      "see one's own sign-in",
	SessionEnd:       "sign out",
	OrgList:          "see which organizations one belongs to",
	PasswordChange:   "change one's own password",
	JoinCode:         "make a code by which an organization can add one",
	CredentialUse:    "stay signed in by using it",
	RolesRead:        "see this table",
	Unrouted:         "(log only: a request for something that does not exist)",
}

// Describe says in plain words what action is. It returns "" for a word that
// is no action.
func Describe(action Action) string { return words[action] }

var roleWords = map[Role]string{
	Scientist:     "works with data: stores, changes and views it; deletes what is her own, to the trash",
	Analyst:       "views and exports data; changes nothing",
	OrgAdmin:      "looks after people, roles, keys, collections and the trash; does not open records by it",
	SecurityAdmin: "reads the log and revokes keys; does not open records by it",
	BillingAdmin:  "looks after usage and billing; does not open records by it",
	SystemAdmin:   "runs the installation; belongs to no organization by it and sees no organization's data",
}

// DescribeRole says in plain words what somebody in role r does.
func DescribeRole(r Role) string { return roleWords[r] }
