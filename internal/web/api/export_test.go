package api

// Update reports whether the golden files are to be rewritten.
func Update() bool { return *update }
