package feature

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

type createIn struct {
	Kind string         `path:"kind"`
	Key  IdempotencyKey `header:"Idempotency-Key"`
	Body struct {
		Title string   `json:"title" maxLength:"5"`
		Tags  []string `json:"tags,omitempty"`
		Part  *struct {
			Count int `json:"count"`
		} `json:"part,omitempty"`
	}
}

type updateIn struct {
	IfMatch IfMatch `header:"If-Match"`
	Body    struct{}
}

var createMeta = Meta{ID: "create-thing", Method: http.MethodPost, Path: "/v1/orgs/{org}/collections/{kind}/things", Action: policy.RecordCreate, Summary: "Creates."}

func createOp(fn func(context.Context, *tenant.Tx, createIn) (Item[string], error)) Op {
	return Handle(createMeta, fn)
}

// straight is a door without a database behind it: what is tested here is the
// way to the door.
type straight struct{ last *tenant.Request }

func (d straight) Do(ctx context.Context, r tenant.Request, fn func(context.Context, *tenant.Tx) (any, error)) (any, audit.Receipt, error) {
	*d.last = r
	v, err := fn(ctx, nil)
	return v, audit.Receipt{}, err
}

type straightPlatform struct{ last *platform.Request }

func (d straightPlatform) Do(ctx context.Context, r platform.Request, fn func(context.Context, *platform.Tx) (any, error)) (any, audit.Receipt, error) {
	*d.last = r
	v, err := fn(ctx, nil)
	return v, audit.Receipt{}, err
}

func TestACallPassesTheSameDoorAsARequest(t *testing.T) {
	t.Parallel()
	var seen tenant.Request
	d := Doors{Tenant: straight{&seen}}
	op := createOp(func(_ context.Context, _ *tenant.Tx, in createIn) (Item[string], error) {
		return Item[string]{ETag: VersionTag(2), Body: in.Body.Title}, nil
	})
	in := createIn{Kind: "samples"}
	in.Body.Title = "GaAs"
	out, _, err := Call[createIn, Item[string]](t.Context(), d, op, tenant.Request{Org: id.NewOrg(), Action: policy.OrgRead}, in)
	if err != nil || out.Body != "GaAs" || out.ETag.String() != `"2"` {
		t.Fatalf("got %+v, %v", out, err)
	}
	if seen.Action != policy.RecordCreate {
		t.Errorf("the caller chose the action: %s", seen.Action)
	}
}

func TestACallIsHeldToTheSchemaOfItsBody(t *testing.T) {
	t.Parallel()
	var seen tenant.Request
	op := createOp(func(context.Context, *tenant.Tx, createIn) (Item[string], error) {
		t.Error("the operation ran")
		return Item[string]{}, nil
	})
	in := createIn{}
	in.Body.Title = "far too long"
	_, _, err := Call[createIn, Item[string]](t.Context(), Doors{Tenant: straight{&seen}}, op, tenant.Request{}, in)
	if f := fault.From(err); f.Kind != fault.Invalid || len(f.Details) != 1 || f.Details[0].Pointer != "/title" || f.Details[0].Code != "too_long" {
		t.Errorf("got %+v", f)
	}
}

func TestACallOfAnotherTypeIsAnErrorNotAPanic(t *testing.T) {
	t.Parallel()
	op := createOp(func(context.Context, *tenant.Tx, createIn) (Item[string], error) { return Item[string]{}, nil })
	if _, _, err := Call[updateIn, NoContent](t.Context(), Doors{}, op, tenant.Request{}, updateIn{}); !errors.Is(err, errNotThisCall) {
		t.Errorf("got %v", err)
	}
	raw := Raw(Meta{ID: "raw"}, huma.Operation{}, func(context.Context, *Exchange, struct{}) error { return nil })
	if _, _, err := Call[struct{}, NoContent](t.Context(), Doors{}, raw, tenant.Request{}, struct{}{}); !errors.Is(err, errNotThisCall) {
		t.Errorf("raw: got %v", err)
	}
}

func TestAPlatformOperationNamesTheOrganizationItConcerns(t *testing.T) {
	t.Parallel()
	var seen platform.Request
	op := HandlePlatform(Meta{ID: "add-member", Method: http.MethodPost, Path: "/v1/orgs/{org}/members", Action: policy.MemberAdd, Summary: "Adds."},
		func(context.Context, *platform.Tx, struct{}) (NoContent, error) { return NoContent{}, nil })
	org, request := id.NewOrg(), id.NewRequest()
	if _, _, err := Call[struct{}, NoContent](t.Context(), Doors{Platform: straightPlatform{&seen}}, op, tenant.Request{Org: org, ID: request}, struct{}{}); err != nil {
		t.Fatal(err)
	}
	if seen.Org != org || seen.ID != request || seen.Action != policy.MemberAdd {
		t.Errorf("the door saw %+v", seen)
	}
}

func TestOneVersionHasOneSpelling(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", `"`, `""`, `3`, `"3`, `3"`, `"03"`, `"+3"`, `"-3"`, `"0"`, `" 3"`, `"3" `, `"3","4"`, `W/"3"`, `*`, `"9223372036854775808"`, `"3.0"`, `"٣"`, "\"3\x00\""} {
		var m IfMatch
		if m.UnmarshalText([]byte(s)) == nil {
			t.Errorf("%q is taken for version %d", s, m.Version())
		}
	}
	for _, v := range []uint64{1, 10, 1<<63 - 1} {
		var m IfMatch
		if err := m.UnmarshalText([]byte(VersionTag(v).String())); err != nil || m.Version() != v || m != MatchVersion(v) {
			t.Errorf("%d: got %d, %v", v, m.Version(), err)
		}
	}
}

func FuzzIfMatch(f *testing.F) {
	f.Add(`"3"`)
	f.Add(`"18446744073709551616"`)
	f.Fuzz(func(t *testing.T, s string) {
		var m IfMatch
		if m.UnmarshalText([]byte(s)) == nil && VersionTag(m.Version()).String() != s {
			t.Errorf("%q is a second spelling of version %d", s, m.Version())
		}
	})
}

func TestAnIdempotencyKeyIsVisibleAndShort(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{"": false, "a": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "a b": false, "a\x00": false, "ä": false, "a\n": false,
		`"8e03978e-40d5-43e8-bc93-6894a57f9324"`: true} {
		var k IdempotencyKey
		if err := k.UnmarshalText([]byte(s)); (err == nil) != ok || k.IsZero() == ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestAChangeThatNamesNoVersionIsRefused(t *testing.T) {
	t.Parallel()
	set := setter[updateIn]()
	if err := set(&updateIn{}, Incoming{}); !fault.Is(err, fault.PreconditionRequired) {
		t.Errorf("got %v", err)
	}
	if err := set(&updateIn{IfMatch: MatchVersion(1)}, Incoming{}); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestAContradictoryDeclarationIsRefused(t *testing.T) {
	t.Parallel()
	ok := createOp(func(context.Context, *tenant.Tx, createIn) (Item[string], error) { return Item[string]{}, nil })
	if err := ok.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Op){
		"an id in capitals":         func(o *Op) { o.ID = "CreateThing" },
		"no id":                     func(o *Op) { o.ID = "" },
		"a path outside /v1":        func(o *Op) { o.Path = "/orgs/{org}/things" },
		"a trailing slash":          func(o *Op) { o.Path += "/" },
		"two verbs":                 func(o *Op) { o.Path += ":a:b" },
		"no action":                 func(o *Op) { o.Action = "" },
		"an action that is a mark":  func(o *Op) { o.Action = policy.Unrouted },
		"no summary":                func(o *Op) { o.Summary = "" },
		"no organization":           func(o *Op) { o.Path = "/v1/things" },
		"a body that GET never has": func(o *Op) { o.Method = http.MethodGet },
		"made by hand":              func(o *Op) { o.mount = nil },
	} {
		o := ok
		change(&o)
		if o.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestNoFindingRepeatsAValue puts a canary where huma would quote it.
func TestNoFindingRepeatsAValue(t *testing.T) {
	t.Parallel()
	const canary = "hunter2"
	words := Words{Body: map[string]bool{"title": true, "items": true}, Query: []string{"limit"}}
	for _, c := range []struct{ location, message, pointer, code string }{
		{"body.title", "expected string to be RFC 5322 email: mail: charset not supported: \"" + canary + "\"", "/title", "format"},
		{"body.title", "expected string to be RFC 3986 uri: parse \"" + canary + "\": net/url: invalid", "/title", "format"},
		{"body.title", "expected string to be RFC 4122 uuid: invalid urn prefix: \"" + canary + "\"", "/title", "format"},
		{"body.title", "expected string to be regex: error parsing regexp: `" + canary + "`", "/title", "format"},
		{"body.title", "expected duration: time: invalid duration \"" + canary + "\"", "/title", "format"},
		{"body.items[3].title", "expected string", "/items/3/title", "wrong_type"},
		{"body." + canary, "unexpected property", "", "unknown_field"},
		{"body.items[3]." + canary, "unexpected property", "/items/3", "unknown_field"},
		{"body." + canary + ".title", "expected string", "", "wrong_type"},
		{"body.items[" + canary + "]", "expected string", "/items", "wrong_type"},
		{"body", "json: cannot unmarshal number " + canary + " into Go struct field", "", "wrong_type"},
		{"body", canary, "", "invalid"},
		{"query." + canary, "unknown query parameter", "", "unknown_parameter"},
		{"query.limit", "invalid integer", "limit", "wrong_type"},
		{"query.limit", "invalid value: " + canary, "limit", "invalid"},
		{"header.If-Match", "invalid value: " + canary, "If-Match", "syntax"},
		{"header.X", "invalid value: " + canary, "X", "invalid"},
		{"body", "expected required property title to be present", "/title", "required"},
		{"body", "expected required property " + canary + " to be present", "", "required"},
	} {
		f := Invalid(words, []error{&huma.ErrorDetail{Location: c.location, Message: c.message, Value: canary}})
		text, _ := json.Marshal(f)
		if strings.Contains(string(text), canary) || strings.Contains(f.Error(), canary) {
			t.Errorf("%s: %s: says %s", c.location, c.message, text)
		}
		if len(f.Details) != 1 || f.Details[0].Pointer != c.pointer || f.Details[0].Code != c.code || f.Details[0].Detail == "" {
			t.Errorf("%s: %s: got %+v", c.location, c.message, f.Details)
		}
	}
	if f := Invalid(words, []error{&huma.ErrorDetail{Location: "path.id", Message: canary}}); f.Kind != fault.NotFound || strings.Contains(f.Error(), canary) {
		t.Errorf("path: %v", f)
	}
	if f := Invalid(words, []error{errors.New(canary)}); strings.Contains(fmt.Sprint(f, f.Details), canary) {
		t.Errorf("a plain error: %v", f)
	}
}

func TestFindingsAreSortedAndFew(t *testing.T) {
	t.Parallel()
	var found []error
	for i := range 100 {
		found = append(found, &huma.ErrorDetail{Location: fmt.Sprintf("body.items[%d]", 99-i), Message: "expected string"})
	}
	f := Invalid(Words{Body: map[string]bool{"items": true}}, found)
	if len(f.Details) != maxDetails || f.Details[0].Pointer != "/items/0" {
		t.Errorf("got %d, the first at %s", len(f.Details), f.Details[0].Pointer)
	}
}

func TestTheWordsOfASchemaAreItsFieldNamesAtAnyDepth(t *testing.T) {
	t.Parallel()
	r := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	words := WordsOf(r, r.Schema(reflect.TypeFor[createIn]().Field(2).Type, true, "Body"))
	for _, w := range []string{"title", "tags", "part", "count"} {
		if !words[w] {
			t.Errorf("%s is missing", w)
		}
	}
	if len(words) != 4 {
		t.Errorf("got %v", words)
	}
}

// TestEveryMessageOfTheValidatorHasACode walks the validator's own list, so
// that an upgrade that words a message anew is noticed here.
func TestEveryMessageOfTheValidatorHasACode(t *testing.T) {
	t.Parallel()
	for _, m := range []string{
		validation.MsgUnexpectedProperty, validation.MsgExpectedRFC3339DateTime, validation.MsgExpectedRFC1123DateTime, validation.MsgExpectedRFC3339Date,
		validation.MsgExpectedRFC3339Time, validation.MsgExpectedRFC5322Email, validation.MsgExpectedRFC5890Hostname, validation.MsgExpectedRFC2673IPv4,
		validation.MsgExpectedRFC2373IPv6, validation.MsgExpectedRFCIPAddr, validation.MsgExpectedRFC3986URI, validation.MsgExpectedRFC4122UUID,
		validation.MsgExpectedRFC6570URITemplate, validation.MsgExpectedRFC6901JSONPointer, validation.MsgExpectedRFC6901RelativeJSONPointer,
		validation.MsgExpectedRegexp, validation.MsgExpectedMatchAtLeastOneSchema, validation.MsgExpectedMatchExactlyOneSchema,
		validation.MsgExpectedNotMatchSchema, validation.MsgExpectedPropertyNameInObject, validation.MsgExpectedBoolean, validation.MsgExpectedDuration,
		validation.MsgExpectedNumber, validation.MsgExpectedInteger, validation.MsgExpectedString, validation.MsgExpectedBase64String,
		validation.MsgExpectedArray, validation.MsgExpectedObject, validation.MsgExpectedArrayItemsUnique, validation.MsgExpectedOneOf,
		validation.MsgExpectedMinimumNumber, validation.MsgExpectedExclusiveMinimumNumber, validation.MsgExpectedMaximumNumber,
		validation.MsgExpectedExclusiveMaximumNumber, validation.MsgExpectedNumberBeMultipleOf, validation.MsgExpectedMinLength,
		validation.MsgExpectedMaxLength, validation.MsgExpectedBePattern, validation.MsgExpectedMatchPattern, validation.MsgExpectedMinItems,
		validation.MsgExpectedMaxItems, validation.MsgExpectedMinProperties, validation.MsgExpectedMaxProperties,
		validation.MsgExpectedRequiredProperty, validation.MsgExpectedDependentRequiredProperty,
	} {
		code, detail := explain(m)
		if code == "invalid" {
			t.Errorf("%q has no code", m)
		}
		// An error of the parser behind it, quoted at the end of the message,
		// holds the value.
		if strings.HasSuffix(m, ": %v") && strings.Contains(detail, "%v") {
			t.Errorf("%q is passed on with what it quotes", m)
		}
	}
}
