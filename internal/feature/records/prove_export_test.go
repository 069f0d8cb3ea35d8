package records

import "strongroom/internal/base/id"

// ShareCaches makes all given organizations use the part of the cache that
// belongs to one.
func (s *Records) ShareCaches(orgs ...id.Org) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := map[string]collection{}
	for _, o := range orgs {
		s.byOrg[o] = one
	}
}

// SeparateCaches undoes it.
func (s *Records) SeparateCaches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byOrg = map[id.Org]map[string]collection{}
}
