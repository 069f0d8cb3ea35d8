package trust

import (
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Settings are what the operator says about the installation. None of it is
// proof, and the page says so. Its JSON is how a supervisor hands it on.
type Settings struct {
	Organization string            `json:"organization,omitempty"` // whose installation it is
	Contact      string            `json:"contact,omitempty"`      // for security: an address, or an https, mailto or tel URI
	Policy       string            `json:"policy,omitempty"`       // https URL of the policy on reports
	Location     string            `json:"location,omitempty"`     // where the data is
	Hosting      string            `json:"hosting,omitempty"`      // who provides building, power, network and hardware
	Roadmap      map[string]string `json:"roadmap,omitempty"`      // what → "state: note"
	Demo         bool              `json:"demo,omitempty"`
}

// RoadmapStates are what a line of the roadmap may begin with.
var RoadmapStates = []string{"not planned", "not started", "planned", "in progress", "done"}

// DefaultRoadmap is what no software can keep, as long as the operator says
// nothing else of it.
var DefaultRoadmap = map[string]string{
	"Penetration test by an independent firm": "not started",
	"SOC 2 Type II report":                    "not started",
	"ISO/IEC 27001 certificate":               "not started",
}

// Check says what is wrong with the settings.
func (s Settings) Check() error {
	_, err := s.checked()
	return err
}

func (s Settings) checked() (Settings, error) {
	for name, text := range map[string]string{"organization": s.Organization, "contact": s.Contact, "policy": s.Policy, "location": s.Location, "hosting": s.Hosting} {
		if len(text) > 500 || strings.ContainsFunc(text, unicode.IsControl) {
			return s, fmt.Errorf("trust.%s: must be one line of at most 500 bytes", name)
		}
	}
	if s.Contact != "" {
		uri, err := contactURI(s.Contact)
		if err != nil {
			return s, err
		}
		s.Contact = uri
	}
	if s.Policy != "" {
		if u, err := url.Parse(s.Policy); err != nil || u.Scheme != "https" || u.Host == "" {
			return s, fmt.Errorf("trust.policy: must be an https URL")
		}
	}
	if len(s.Roadmap) == 0 {
		s.Roadmap = DefaultRoadmap
	}
	for what, line := range s.Roadmap {
		state, _, _ := strings.Cut(line, ":")
		if len(what) > 200 || len(line) > 500 || strings.ContainsFunc(what+line, unicode.IsControl) {
			return s, fmt.Errorf("trust.roadmap: a line must be at most 200 bytes, its state and note at most 500")
		}
		if !slices.Contains(RoadmapStates, strings.TrimSpace(state)) {
			return s, fmt.Errorf("trust.roadmap: a state must be one of %s, and may go on with a colon and a note", strings.Join(RoadmapStates, ", "))
		}
	}
	return s, nil
}

// contactURI is what RFC 9116 section 2.5.3 asks of a contact.
func contactURI(text string) (string, error) {
	if a, err := mail.ParseAddress(text); err == nil && a.Name == "" && a.Address == text && !strings.ContainsAny(text, " ?&<>") {
		return "mailto:" + text, nil
	}
	u, err := url.Parse(text)
	if err == nil && (u.Scheme == "https" && u.Host != "" || u.Scheme == "mailto" && u.Opaque != "" || u.Scheme == "tel" && u.Opaque != "") {
		return u.String(), nil
	}
	return "", fmt.Errorf("trust.contact: must be an address, or a URI that begins with https, mailto or tel")
}

// RoadmapLine is one line of what software cannot keep.
type RoadmapLine struct {
	What  string `json:"what"`
	State string `json:"state"`
	Note  string `json:"note,omitempty"`
}

func (s Settings) roadmap() (out []RoadmapLine) {
	for _, what := range slices.Sorted(maps.Keys(s.Roadmap)) {
		state, note, _ := strings.Cut(s.Roadmap[what], ":")
		out = append(out, RoadmapLine{what, strings.TrimSpace(state), strings.TrimSpace(note)})
	}
	return out
}
