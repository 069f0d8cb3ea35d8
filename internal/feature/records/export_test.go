package records

// The inputs and outputs of the operations, for calls inside the process.
type (
	ListCollectionsIn  = listCollectionsIn
	CreateCollectionIn = createCollectionIn
	GetCollectionIn    = getCollectionIn
	CreateIn           = createIn
	CreateManyIn       = createManyIn
	CreateManyOut      = createManyOut
	ListIn             = listIn
	GetIn              = getIn
	UpdateIn           = updateIn
	DeleteIn           = deleteIn
	HistoryIn          = historyIn
	ListLinksIn        = listLinksIn
	CreateLinkIn       = createLinkIn
	DeleteLinkIn       = deleteLinkIn
)

// MaxPageBytes is the bound of a page.
const MaxPageBytes = maxPageBytes

// SetExportPage makes the pages of exports small.
func (s *Records) SetExportPage(n int) { s.page = n }
