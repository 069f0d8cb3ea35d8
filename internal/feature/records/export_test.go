package records

import (
	"strongroom/internal/base/id"
	"strongroom/internal/kind"
)

// The inputs and outputs of the operations, for calls inside the process.
type (
	ListCollectionsIn  = listCollectionsIn
	CreateCollectionIn = createCollectionIn
	GetCollectionIn    = getCollectionIn
	UpdateCollectionIn = updateCollectionIn
	ListKitsIn         = listKitsIn
	InstallKitIn       = installKitIn
	InstallKitOut      = installKitOut
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
	GetSharingIn       = getSharingIn
	SetSharingIn       = setSharingIn
	SharingOut         = sharingOut
	ListTrashIn        = listTrashIn
)

// MaxPageBytes is the bound of a page.
const MaxPageBytes = maxPageBytes

// SetKits puts other kits in place of the product's, as a later version does.
func (s *Records) SetKits(kits []kind.Kit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kits, s.byOrg, s.cached = kits, map[id.Org]map[string]collection{}, 0
}

// SetExportPage makes the pages of exports small.
func (s *Records) SetExportPage(n int) { s.page = n }
