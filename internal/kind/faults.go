package kind

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"strongroom/internal/base/fault"
)

// maxDetails is how many places one answer names.
const maxDetails = 32

// faultOf tells where a value does not fit. Codes are the schema's keywords in
// snake_case; details may name what the schema asks for, never what was sent.
func faultOf(v *jsonschema.ValidationError, at, public string) error {
	w := &collector{at: at}
	w.walk(v)
	if len(w.details) == 0 { // a keyword of the library that we do not know
		w.add(v.InstanceLocation, "", "schema", "does not fit the schema")
	}
	slices.SortFunc(w.details, func(a, b fault.Detail) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Code, b.Code), strings.Compare(a.Detail, b.Detail))
	})
	w.details = slices.Compact(w.details)
	f := fault.New(fault.Invalid, "%s", public)
	f.Details = w.details[:min(len(w.details), maxDetails)]
	return f
}

// collector gathers details. It stops at some multiple of what is told, so
// that the first by place are told although the library has no order.
type collector struct {
	at      string
	details []fault.Detail
}

func (w *collector) add(loc []string, member, code, detail string) {
	var b strings.Builder
	b.WriteString(w.at)
	for _, tok := range loc {
		b.WriteByte('/')
		_, _ = escaper.WriteString(&b, tok)
	}
	if member != "" {
		b.WriteByte('/')
		_, _ = escaper.WriteString(&b, member)
	}
	w.details = append(w.details, fault.Detail{Pointer: clip(b.String()), Code: code, Detail: detail})
}

func (w *collector) walk(v *jsonschema.ValidationError) {
	if len(w.details) >= 100*maxDetails {
		return
	}
	at := v.InstanceLocation
	switch k := v.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range v.Causes {
			w.walk(cause)
		}
	case *kind.Type:
		w.add(at, "", "type", "must be of type "+strings.Join(k.Want, " or "))
	case *kind.Required:
		for _, name := range k.Missing {
			w.add(at, name, "required", "is required")
		}
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			w.add(at, name, "dependent_required", "is required beside another property that is there")
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			w.add(at, name, "additional_properties", "is not a property that the schema knows")
		}
	case *kind.PropertyNames:
		w.add(at, k.Property, "property_names", "is not an allowed property name")
	case *kind.FalseSchema:
		w.add(at, "", "false", "is not allowed here")
	case *kind.Enum:
		w.add(at, "", "enum", "must be one of the values that the schema lists")
	case *kind.Const:
		w.add(at, "", "const", "must be the value that the schema fixes")
	case *kind.Format:
		detail := "must have the format " + k.Want
		if k.Want == "regex" {
			detail = regexpDetail
		}
		w.add(at, "", "format", detail)
	case *kind.Pattern:
		w.add(at, "", "pattern", "must match the schema's pattern")
	case *kind.MinLength:
		w.add(at, "", "min_length", fmt.Sprintf("must have at least %d characters", k.Want))
	case *kind.MaxLength:
		w.add(at, "", "max_length", fmt.Sprintf("must have at most %d characters", k.Want))
	case *kind.MinItems:
		w.add(at, "", "min_items", fmt.Sprintf("must have at least %d items", k.Want))
	case *kind.MaxItems:
		w.add(at, "", "max_items", fmt.Sprintf("must have at most %d items", k.Want))
	case *kind.UniqueItems:
		w.add(at, "", "unique_items", fmt.Sprintf("must not repeat an item: %d and %d are equal", k.Duplicates[0], k.Duplicates[1]))
	case *kind.MinProperties:
		w.add(at, "", "min_properties", fmt.Sprintf("must have at least %d properties", k.Want))
	case *kind.MaxProperties:
		w.add(at, "", "max_properties", fmt.Sprintf("must have at most %d properties", k.Want))
	case *kind.Contains:
		w.add(at, "", "contains", "must contain an item of the kind that the schema asks for")
	case *kind.MinContains:
		w.add(at, "", "min_contains", fmt.Sprintf("must contain at least %d items of the kind that the schema asks for", k.Want))
	case *kind.MaxContains:
		w.add(at, "", "max_contains", fmt.Sprintf("must contain at most %d items of the kind that the schema asks for", k.Want))
	case *kind.Minimum:
		w.add(at, "", "minimum", "is below the schema's minimum")
	case *kind.Maximum:
		w.add(at, "", "maximum", "is above the schema's maximum")
	case *kind.ExclusiveMinimum:
		w.add(at, "", "exclusive_minimum", "must be above the schema's minimum")
	case *kind.ExclusiveMaximum:
		w.add(at, "", "exclusive_maximum", "must be below the schema's maximum")
	case *kind.MultipleOf:
		w.add(at, "", "multiple_of", "is not a multiple of the schema's step")
	case *kind.Not:
		w.add(at, "", "not", "must not fit what the schema excludes")
	case *kind.AnyOf:
		w.add(at, "", "any_of", "fits none of the schema's alternatives")
	case *kind.OneOf:
		w.add(at, "", "one_of", "must fit exactly one of the schema's alternatives")
	default:
		w.add(at, "", "schema", "does not fit the schema")
	}
}
