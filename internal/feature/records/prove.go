package records

import "strongroom/internal/feature"

func (s *Records) promises() []feature.Promise { return nil }
