package kind

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// Widens reports whether next surely accepts everything that old accepts, by
// the text of the two schemas alone.
//
// It is a proof, not a guess: false means that no proof was found. It knows
// what changes in practice (a member more, a bound less, an alternative more,
// other titles and annotations) and gives up on the rest.
func Widens(old, next []byte) bool {
	_, o, err := parse(old, "", MaxSchema)
	if err != nil {
		return false
	}
	_, n, err := parse(next, "", MaxSchema)
	if err != nil {
		return false
	}
	w := widening{old: o, next: n, known: map[[2]string]bool{}}
	if w.scoped() {
		// Identifiers, anchors and dynamic references give a reference another
		// meaning by where it stands.
		return same(o, n)
	}
	return w.wider(o, n, 0)
}

type widening struct {
	old, next any
	known     map[[2]string]bool // pairs of references that are being looked at
	steps     int
}

// Bounds on the proof: what is larger is examined instead.
const (
	maxWideningDepth = 100
	maxWideningSteps = 50_000
)

var scopes = []string{"$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$vocabulary"}

func (w *widening) scoped() bool { return mentions(w.old, scopes) || mentions(w.next, scopes) }

func mentions(v any, names []string) bool {
	switch v := v.(type) {
	case map[string]any:
		for name, sub := range v {
			if slices.Contains(names, name) || mentions(sub, names) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(sub any) bool { return mentions(sub, names) })
	}
	return false
}

// silent keywords decide nothing, or only where others that are looked at do.
var silent = []string{"$schema", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
	"contentEncoding", "contentMediaType", "contentSchema", Keyword}

// wider reports whether n surely accepts whatever o does.
func (w *widening) wider(o, n any, depth int) bool {
	if w.steps++; depth > maxWideningDepth || w.steps > maxWideningSteps {
		return false
	}
	if n == any(true) || o == any(false) {
		return true
	}
	if o == any(true) {
		o = map[string]any{}
	}
	om, ok := o.(map[string]any)
	nm, ok2 := n.(map[string]any)
	if !ok || !ok2 {
		return false
	}
	om = w.unfolded(om)
	if ref, ok := nm["$ref"].(string); ok {
		target, found := find(w.next, ref)
		if !found {
			return false
		}
		// A pair that leads back to itself holds if everything beside it does:
		// each step goes one value deeper, and contents end.
		pair := [2]string{text(o), ref}
		if !w.known[pair] {
			w.known[pair] = true
			if !w.wider(om, target, depth+1) {
				return false
			}
		}
	}
	for keyword, v := range nm {
		if keyword != "$ref" && !slices.Contains(silent, keyword) && !w.implied(om, nm, keyword, v, depth) {
			return false
		}
	}
	return true
}

// unfolded adds to a schema what its reference says, as far as no keyword
// stands on both sides. Less is known of the old schema then, which is safe.
func (w *widening) unfolded(o map[string]any) map[string]any {
	for range MaxDepth {
		ref, ok := o["$ref"].(string)
		if !ok {
			return o
		}
		target, found := find(w.old, ref)
		t, isMap := target.(map[string]any)
		merged := map[string]any{}
		for k, v := range o {
			if k != "$ref" {
				merged[k] = v
			}
		}
		if found && isMap {
			for k, v := range t {
				if _, both := o[k]; !both && !tied(k, o) {
					merged[k] = v
				}
			}
		}
		o = merged
	}
	return o
}

// tied reports whether a keyword of a reference's target means something else
// beside what the schema itself has: which members are additional depends on
// the properties that stand with it.
func tied(keyword string, beside map[string]any) bool {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { _, ok := beside[n]; return ok })
	}
	switch keyword {
	case "additionalProperties":
		return has("properties", "patternProperties")
	case "properties", "patternProperties":
		return has("additionalProperties", "properties", "patternProperties")
	case "items":
		return has("prefixItems")
	case "prefixItems":
		return has("items")
	case "contains", "minContains", "maxContains":
		return has("contains", "minContains", "maxContains")
	case "if", "then", "else":
		return has("if", "then", "else")
	case "unevaluatedProperties", "unevaluatedItems":
		return true
	}
	return false
}

// implied reports whether what a keyword of n asks for holds for all that o
// accepts.
func (w *widening) implied(o, n map[string]any, keyword string, v any, depth int) bool {
	equal := func(keywords ...string) bool {
		return !slices.ContainsFunc(keywords, func(k string) bool {
			a, inO := o[k]
			b, inN := n[k]
			return inO != inN || !same(a, b) || mentions(a, []string{"$ref"}) && !same(defs(w.old), defs(w.next))
		})
	}
	switch keyword {
	case "type":
		return typesWithin(o, v)
	case "enum":
		list, _ := v.([]any)
		return valuesWithin(o, list)
	case "const":
		return valuesWithin(o, []any{v})
	case "required":
		list, _ := v.([]any)
		was, _ := o["required"].([]any)
		return !slices.ContainsFunc(list, func(name any) bool { return !slices.Contains(was, name) })
	case "properties":
		return w.properties(o, v, depth)
	case "additionalProperties":
		return w.additional(o, n, v, depth)
	case "items":
		_, prefixed := n["prefixItems"]
		_, was := o["prefixItems"]
		if prefixed || was {
			return equal("items", "prefixItems")
		}
		items, ok := o["items"]
		return w.wider(orTrue(items, ok), v, depth+1)
	case "minimum", "exclusiveMinimum":
		return bounded(o, "minimum", "exclusiveMinimum", keyword == "exclusiveMinimum", v, 1)
	case "maximum", "exclusiveMaximum":
		return bounded(o, "maximum", "exclusiveMaximum", keyword == "exclusiveMaximum", v, -1)
	case "minLength", "minItems", "minProperties":
		was, ok := ratio(o[keyword])
		is, ok2 := ratio(v)
		return ok2 && (is.Sign() == 0 || ok && was.Cmp(is) >= 0)
	case "maxLength", "maxItems", "maxProperties":
		was, ok := ratio(o[keyword])
		is, ok2 := ratio(v)
		return ok && ok2 && was.Cmp(is) <= 0
	case "uniqueItems":
		return v == any(false) || o["uniqueItems"] == any(true)
	case "anyOf":
		list, _ := v.([]any)
		return equal("anyOf") || slices.ContainsFunc(list, func(branch any) bool { return w.tried(o, branch, depth+1) })
	case "allOf":
		list, _ := v.([]any)
		return equal("allOf") || !slices.ContainsFunc(list, func(part any) bool { return !w.wider(o, part, depth+1) })
	case "contains", "minContains", "maxContains":
		return equal("contains", "minContains", "maxContains")
	case "if", "then", "else":
		return equal("if", "then", "else")
	case "prefixItems":
		return equal("items", "prefixItems")
	case "unevaluatedProperties", "unevaluatedItems":
		return same(o, n) && same(defs(w.old), defs(w.next))
	case "patternProperties", "propertyNames", "format", "pattern", "multipleOf", "oneOf", "not", "dependentRequired", "dependentSchemas":
		return equal(keyword)
	}
	// A word that JSON Schema does not know decides nothing.
	return !slices.Contains(deciding, keyword)
}

// deciding are keywords of other drafts that the library may still follow.
var deciding = []string{"$recursiveRef", "$recursiveAnchor", "additionalItems", "dependencies", "id", "extends", "disallow", "divisibleBy"}

// tried is wider for one alternative of several: what was assumed on the way
// to a failure is forgotten.
func (w *widening) tried(o, n any, depth int) bool {
	before := maps.Clone(w.known)
	if w.wider(o, n, depth) {
		return true
	}
	w.known = before
	return false
}

func orTrue(v any, there bool) any {
	if !there {
		return true
	}
	return v
}

// properties: each listed member is held to its schema. Where the old schema
// did not list it, it was held to the one for additional members.
func (w *widening) properties(o map[string]any, v any, depth int) bool {
	next, ok := v.(map[string]any)
	if !ok {
		return false
	}
	was, _ := o["properties"].(map[string]any)
	_, patterns := o["patternProperties"]
	rest, hasRest := o["additionalProperties"]
	for name, sub := range next {
		old, listed := was[name]
		if !listed {
			// A pattern that takes the name turns the rest off for it.
			if old = orTrue(rest, hasRest); patterns {
				old = true
			}
		}
		if !w.wider(old, sub, depth+1) {
			return false
		}
	}
	return true
}

func (w *widening) additional(o, n map[string]any, v any, depth int) bool {
	_, patterns := o["patternProperties"]
	_, nextPatterns := n["patternProperties"]
	if patterns || nextPatterns {
		return false
	}
	rest, hasRest := o["additionalProperties"]
	if !w.wider(orTrue(rest, hasRest), v, depth+1) {
		return false
	}
	was, _ := o["properties"].(map[string]any)
	next, _ := n["properties"].(map[string]any)
	for name, sub := range was {
		if _, listed := next[name]; !listed && !w.wider(sub, v, depth+1) {
			return false
		}
	}
	return true
}

func typesOf(schema map[string]any) (types []string, known bool) {
	switch t := schema["type"].(type) {
	case string:
		return []string{t}, true
	case []any:
		for _, one := range t {
			s, _ := one.(string)
			types = append(types, s)
		}
		return types, true
	}
	values, ok := values(schema)
	if !ok {
		return nil, false
	}
	for _, v := range values {
		types = append(types, typeName(v))
	}
	return types, true
}

func typeName(v any) string {
	switch v := v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case nil:
		return "null"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case json.Number:
		if r, ok := ratio(v); ok && r.IsInt() {
			return "integer"
		}
	}
	return "number"
}

func typesWithin(o map[string]any, v any) bool {
	was, known := typesOf(o)
	is, ok := typesOf(map[string]any{"type": v})
	if !known || !ok {
		return false
	}
	return !slices.ContainsFunc(was, func(t string) bool {
		return !slices.Contains(is, t) && (t != "integer" || !slices.Contains(is, "number"))
	})
}

// values lists what a schema allows, where it lists it.
func values(o map[string]any) ([]any, bool) {
	if c, ok := o["const"]; ok {
		return []any{c}, true
	}
	list, ok := o["enum"].([]any)
	return list, ok
}

func valuesWithin(o map[string]any, next []any) bool {
	was, ok := values(o)
	return ok && !slices.ContainsFunc(was, func(v any) bool {
		return !slices.ContainsFunc(next, func(n any) bool { return string(canonical(nil, v)) == string(canonical(nil, n)) })
	})
}

// bounded compares the bounds on one side: sign is 1 for the lower one.
func bounded(o map[string]any, open, exclusive string, strict bool, v any, sign int) bool {
	is, ok := ratio(v)
	if !ok {
		return false
	}
	if was, ok := ratio(o[exclusive]); ok && was.Cmp(is)*sign >= 0 {
		return true
	}
	was, ok := ratio(o[open])
	if !ok {
		return false
	}
	c := was.Cmp(is) * sign
	return c > 0 || c == 0 && !strict
}

func ratio(v any) (*big.Rat, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	return new(big.Rat).SetString(string(n))
}

// same reports whether two schemas differ in nothing that decides.
func same(a, b any) bool { return text(bare(a, false)) == text(bare(b, false)) }

func text(v any) string { return string(canonical(nil, v)) }

// bare takes away what says nothing about values, where a schema stands. The
// members of properties and of the like are names, whatever they are called.
func bare(v any, names bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, sub := range v {
			switch {
			case names:
				out[name] = bare(sub, false)
			case name == "enum" || name == "const":
				out[name] = sub
			case slices.Contains(silent, name) && name != "$defs" && name != "definitions":
			default:
				out[name] = bare(sub, slices.Contains(schemaMaps, name))
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, sub := range v {
			out[i] = bare(sub, false)
		}
		return out
	}
	return v
}

func defs(root any) any {
	m, _ := root.(map[string]any)
	return map[string]any{"$defs": m["$defs"], "definitions": m["definitions"], "root": hasRootRef(root)}
}

// hasRootRef returns the whole schema where a reference leads elsewhere than
// into its definitions, so that comparing the definitions compares it all.
func hasRootRef(v any) any {
	if leadsOut(v) {
		return v
	}
	return nil
}

func leadsOut(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && !strings.HasPrefix(ref, "#/$defs/") && !strings.HasPrefix(ref, "#/definitions/") {
			return true
		}
		for _, sub := range v {
			if leadsOut(sub) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, leadsOut)
	}
	return false
}

// find follows a JSON pointer in a URI fragment within a schema.
func find(root any, ref string) (any, bool) {
	rest, ok := strings.CutPrefix(ref, "#")
	if !ok || rest != "" && rest[0] != '/' {
		return nil, false
	}
	if rest == "" {
		return root, true
	}
	v := root
	for step := range strings.SplitSeq(rest[1:], "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(unescape(step))
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[step]; !ok {
			return nil, false
		}
	}
	return v, true
}
