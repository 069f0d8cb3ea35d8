package console_test

func init() {
	// The world of these tests has its administrator: what an empty
	// installation shows is tried in internal/feature/setup.
	walks["GET /setup"] = func(*World) []Walk { return []Walk{{Path: "/setup", As: "nobody"}} }
}
