package console

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"strongroom/client"
)

var adminPages = []Page{
	{Pattern: "GET /admin", Access: SignedIn, Serve: showInstallation},
	{Pattern: "GET /admin/new", Access: SignedIn, Serve: showNewOrganization},
	{Pattern: "POST /admin/new", Access: SignedIn, Serve: createOrganization},
	{Pattern: "GET /admin/status", Access: SignedIn, Serve: showStatus},
}

type installationView struct {
	Organizations []client.Organization
	Next          string
}

// showInstallation lists every organization. Who does not run the installation
// has a list of her own at the start, and the API would show her that.
func showInstallation(v *Visit) error {
	if !v.IsSystemAdmin() {
		return statusError(404)
	}
	p, err := v.API.ListOrganizations(v.Context(), client.List{Limit: 100, Cursor: v.Query("cursor")})
	if err != nil {
		return err
	}
	return v.Render("admin", "Organizations", installationView{p.Items, p.Next})
}

type newOrganizationView struct {
	Name, Placement, Plan string
	OwnerName, OwnerEmail string
	offered               []Option // plans, as the API has them
	Errors                Errors
}

// Plans are what an organization may be on: those that there are, for who may
// ask, and those that ship with the product on a first start.
func (n newOrganizationView) Plans() []Option {
	if n.offered != nil {
		return n.offered
	}
	return []Option{{"enterprise", "Enterprise"}, {"team", "Team"}, {"pilot", "Pilot"}}
}

// organizationPage shows the form with the plans that there are.
func (v *Visit) organizationPage(view newOrganizationView) error {
	p, err := v.API.ListPlans(v.Context(), client.List{})
	if err != nil {
		return err
	}
	for _, plan := range p.Items {
		view.offered = append(view.offered, Option{plan.ID, plan.Title})
	}
	if view.Errors != nil {
		return v.Again("admin-new", "Set up an organization", view)
	}
	return v.Render("admin-new", "Set up an organization", view)
}

// Placements says where its data may lie.
func (newOrganizationView) Placements() []Option {
	return []Option{{"schema", "Tables of its own (for organizations)"}, {"pooled", "Shared tables (for personal accounts, never with measurements)"}}
}

func showNewOrganization(v *Visit) error {
	return v.organizationPage(newOrganizationView{Placement: "schema", Plan: "enterprise"})
}

func createOrganization(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	view := newOrganizationView{Name: form.Get("name"), Placement: form.Get("placement"), Plan: form.Get("plan"),
		OwnerName: form.Get("owner/name"), OwnerEmail: form.Get("owner/email")}
	in := client.NewOrganization{Name: view.Name, Placement: view.Placement, Plan: view.Plan}
	if code := form.Get("owner/join_code"); code != "" {
		in.Owner.JoinCode = client.NewSecret(code)
	} else {
		in.Owner = client.NewMember{Name: view.OwnerName, Email: view.OwnerEmail, Password: client.NewSecret(form.Get("owner/password"))}
	}
	org, err := v.API.CreateOrganization(v.Context(), in)
	if p, ok := Refused(err); ok {
		view.Errors = FieldErrors(p)
		return v.organizationPage(view)
	}
	if err != nil {
		return err
	}
	return v.Done("/admin", org.Name+" is set up.")
}

// installation is the state of the installation, as far as the page shows it.
type installation struct {
	Version     string    `json:"version"`
	URL         string    `json:"url"`
	Ready       bool      `json:"ready"`
	Problem     string    `json:"problem"`
	StartedAt   time.Time `json:"started_at"`
	Undelivered []string  `json:"undelivered"`
	Alarms      []struct {
		Severity string    `json:"severity"`
		Text     string    `json:"text"`
		Since    time.Time `json:"since"`
	} `json:"alarms"`
	Services []struct {
		Name     string    `json:"name"`
		State    string    `json:"state"`
		Since    time.Time `json:"since"`
		Restarts int       `json:"restarts"`
	} `json:"services"`
	Proofs *struct {
		Kept   int       `json:"kept"`
		Partly int       `json:"partly"`
		NotYet int       `json:"not_yet"`
		Stale  int       `json:"stale"`
		Broken int       `json:"broken"`
		At     time.Time `json:"at"`
	} `json:"proofs"`
	Disks        []disk        `json:"disks"`
	Certificates []certificate `json:"certificates"`
	SpareSchemas int           `json:"spare_schemas"`
	ChainBreaks  int64         `json:"audit_chain_breaks"`
	Events       struct {
		Waiting    int64   `json:"waiting"`
		LagSeconds float64 `json:"lag_seconds"`
	} `json:"events"`
	Jobs struct {
		Waiting  int64 `json:"waiting"`
		Retrying int64 `json:"retrying"`
		Failed   int64 `json:"failed"`
	} `json:"jobs"`
	Keys struct {
		State         string   `json:"state"`
		Trouble       []string `json:"trouble"`
		Epoch         uint64   `json:"epoch"`
		Organizations int      `json:"organizations"`
		Servers       int      `json:"servers"`
		Zones         []struct {
			Name  string `json:"name"`
			Whole bool   `json:"whole"`
		} `json:"zones"`
		Guardians []struct {
			Name    string `json:"name"`
			Grade   string `json:"grade"`
			Answers bool   `json:"answers"`
		} `json:"guardians"`
		Grade        string   `json:"grade"`
		GradeReasons []string `json:"grade_reasons"`
	} `json:"keys"`
}

type disk struct {
	Holds []string `json:"holds"`
	Free  uint64   `json:"free_bytes"`
	Total uint64   `json:"total_bytes"`
}

// Left is how much of it is free, in hundredths.
func (d disk) Left() uint64 {
	if d.Total == 0 {
		return 0
	}
	return uint64(float64(d.Free) / float64(d.Total) * 100)
}

// FreeBytes is Free as the templates write sizes.
func (d disk) FreeBytes() int64 { return int64(min(d.Free, math.MaxInt64)) }

type certificate struct {
	Source   string    `json:"source"`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
	Problem  string    `json:"problem"`
}

// From says who gave the certificate.
func (c certificate) From() string {
	switch c.Source {
	case "own":
		return "the operator's own"
	case "acme":
		return "from an ACME authority"
	}
	return "from the installation's own authority: browsers do not know it"
}

// Soon reports whether it ends within a fortnight.
func (c certificate) Soon() bool { return time.Until(c.NotAfter) < 14*24*time.Hour }

func showStatus(v *Visit) error {
	raw, err := v.API.Status(v.Context())
	if err != nil {
		return err
	}
	var s installation
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("console: the state of the installation: %w", err)
	}
	return v.Render("admin-status", "State of the installation", s)
}
