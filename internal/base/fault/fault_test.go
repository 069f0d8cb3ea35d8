package fault

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAnUnclassifiedErrorIsHidden(t *testing.T) {
	f := From(errors.New("password=hunter2"))
	if f.Kind != Internal || strings.Contains(f.Public, "hunter2") {
		t.Errorf("got %v %q", f.Kind, f.Public)
	}
	if (&Error{}).Kind != Internal {
		t.Error("the zero kind is not Internal")
	}
}

func TestTheKindSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("door: %w", Wrap(Stale, errors.New("cause"), "the record has changed"))
	if !Is(err, Stale) || Is(nil, Internal) {
		t.Errorf("got %v", From(err).Kind)
	}
}
