package console

import (
	"encoding/json"
	"strconv"

	"strongroom/client"
)

var adminPlanPages = []Page{
	{Pattern: "GET /admin/plans", Access: SignedIn, Serve: showPlans},
	{Pattern: "GET /admin/plans/{plan}", Access: SignedIn, Serve: showPlan},
	{Pattern: "POST /admin/plans/{plan}", Access: SignedIn, Serve: changePlan},
	{Pattern: "GET /admin/reports", Access: SignedIn, Serve: showReports},
	{Pattern: "GET /admin/reports/{report}", Access: SignedIn, Serve: showReport},
	{Pattern: "POST /admin/reports/{report}", Access: SignedIn, Serve: changeReport},
}

// planText is what the pages read of a plan; its whole is text to be edited.
type planText struct {
	Description string          `json:"description"`
	Features    map[string]bool `json:"features"`
	Audit       string          `json:"audit"`
	Periods     struct {
		Evaluation int `json:"evaluation_days"`
		Undo       int `json:"undo_days"`
	} `json:"periods"`
}

type planLine struct {
	client.Plan
	planText
	On int // features that are on
}

func showPlans(v *Visit) error {
	p, err := v.API.ListPlans(v.Context(), client.List{})
	if err != nil {
		return err
	}
	lines := make([]planLine, len(p.Items))
	for i, plan := range p.Items {
		lines[i].Plan = plan
		if err := json.Unmarshal(plan.Text, &lines[i].planText); err != nil {
			return err
		}
		for _, on := range lines[i].Features {
			if on {
				lines[i].On++
			}
		}
	}
	return v.Render("admin-plans", "Plans", lines)
}

type planView struct {
	ID, Title, Text, Version string
	Errors                   Errors
}

// said are the members of a plan that are the operator's to say.
func said(plan client.Plan) (string, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(plan.Text, &members); err != nil {
		return "", err
	}
	for _, ours := range []string{"plan", "version", "updated_at", "updated_by", "$schema"} {
		delete(members, ours)
	}
	b, err := json.MarshalIndent(members, "", "  ")
	return string(b), err
}

func showPlan(v *Visit) error {
	plan, err := v.API.Plan(v.Context(), v.Param("plan"))
	if err != nil {
		return err
	}
	text, err := said(plan)
	if err != nil {
		return err
	}
	return v.Render("admin-plan", plan.Title, planView{plan.ID, plan.Title, text, strconv.FormatInt(plan.Version, 10), nil})
}

func changePlan(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	view := planView{ID: v.Param("plan"), Title: form.Get("title"), Text: form.Get("text"), Version: form.Get("version")}
	version, err := strconv.ParseInt(view.Version, 10, 64)
	if err != nil {
		return statusError(400)
	}
	if !json.Valid([]byte(view.Text)) {
		view.Errors = Errors{"text": "This is not JSON."}
		return v.Again("admin-plan", view.Title, view)
	}
	plan, err := v.API.UpdatePlan(v.Context(), view.ID, version, json.RawMessage(view.Text))
	if p, ok := Refused(err); ok {
		view.Errors = Errors{}
		for at, words := range FieldErrors(p) {
			if at != "" {
				words = "At " + at + ": " + words
			}
			view.Errors["text"] += words + " "
		}
		return v.Again("admin-plan", view.Title, view)
	}
	if err != nil {
		return err
	}
	return v.Done("/admin/plans", plan.Title+" is changed. It counts from now on.")
}

type reportsView struct {
	Reports []client.Report
	Next    string
}

func showReports(v *Visit) error {
	p, err := v.API.ListReports(v.Context(), "", client.List{Cursor: v.Query("cursor")})
	if err != nil {
		return err
	}
	return v.Render("admin-reports", "Reports of vulnerabilities", reportsView{p.Items, p.Next})
}

type reportView struct {
	Report client.Report
	Errors Errors
}

// States are what becomes of a report.
func (reportView) States() []Option {
	return []Option{{"open", "Open"}, {"acknowledged", "Acknowledged"}, {"closed", "Closed"}}
}

func showReport(v *Visit) error {
	r, err := v.API.Report(v.Context(), v.Param("report"))
	if err != nil {
		return err
	}
	return v.Render("admin-report", r.Title, reportView{r, nil})
}

func changeReport(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	version, err := strconv.ParseInt(form.Get("version"), 10, 64)
	if err != nil {
		return statusError(400)
	}
	_, err = v.API.UpdateReport(v.Context(), v.Param("report"), version, form.Get("state"), form.Get("note"))
	if p, ok := Refused(err); ok {
		r, err := v.API.Report(v.Context(), v.Param("report"))
		if err != nil {
			return err
		}
		return v.Again("admin-report", r.Title, reportView{r, FieldErrors(p)})
	}
	if err != nil {
		return err
	}
	return v.Done("/admin/reports", "The report is kept as you left it.")
}
