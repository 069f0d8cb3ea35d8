package console

var orgPages = []Page{
	{Pattern: "GET /{$}", Access: SignedIn, Serve: showStart},
	{Pattern: "GET /o/{org}", Access: InOrg, Serve: showHome},
}

// showStart leads to the one organization that somebody belongs to, or shows
// all of them.
func showStart(v *Visit) error {
	all := v.Me.Organizations
	if v.Query("all") == "" {
		switch {
		case len(all) == 1:
			return v.Redirect(orgPath(all[0].ID))
		case len(all) == 0 && v.IsSystemAdmin():
			return v.Redirect("/admin")
		}
	}
	return v.Render("organizations", "Your organizations", all)
}
