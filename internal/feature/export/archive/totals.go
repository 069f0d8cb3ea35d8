package archive

// Totals sums up the entries that have ended so far.
func (a *Writer) Totals() Totals { return a.manifest.Totals }
