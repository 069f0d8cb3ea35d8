package console

// groups lists every page: one list a file.
var groups = [][]Page{
	signInPages,
	setupPages,
	orgPages,
	peoplePages,
	keyPages,
	logPages,
	settingsPages,
	accountPages,
	adminPages,
	adminPlanPages,
	listPages,
	recordPages,
	recordFormPages,
	recordLinkPages,
	filePages,
	trashPages,
	exportPages,
}
