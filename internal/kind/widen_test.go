package kind

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestWhatSurelyAllowsMoreIsFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		old, next string
		want      bool
	}{
		{`{}`, `{}`, true},
		{`{"type":"object"}`, `{}`, true},
		{`{}`, `{"type":"object"}`, false},
		{`{"properties":{"a":{"type":"integer"}}}`, `{"properties":{"a":{"type":"number"}}}`, true},
		{`{"properties":{"a":{"type":"number"}}}`, `{"properties":{"a":{"type":"integer"}}}`, false},
		{`{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":{"type":["string","null"]}}}`, true},
		{`{"properties":{"a":{"enum":["x"]}}}`, `{"properties":{"a":{"enum":["y","x"]}}}`, true},
		{`{"properties":{"a":{"enum":["x","z"]}}}`, `{"properties":{"a":{"enum":["x"]}}}`, false},
		{`{"properties":{"a":{"enum":["x"]}}}`, `{"properties":{"a":{"type":"string"}}}`, true},
		{`{"properties":{"a":{"const":1}}}`, `{"properties":{"a":{"enum":[1.0,2]}}}`, true},
		{`{"required":["a","b"]}`, `{"required":["b"]}`, true},
		{`{"required":["a"]}`, `{"required":["a","b"]}`, false},
		{`{"additionalProperties":false,"properties":{"a":true}}`, `{"additionalProperties":false,"properties":{"a":true,"b":{"type":"string"}}}`, true},
		{`{"properties":{"a":true}}`, `{"properties":{"a":true,"b":{"type":"string"}}}`, false},
		{`{"additionalProperties":false,"properties":{"a":true,"b":true}}`, `{"additionalProperties":false,"properties":{"a":true}}`, false},
		{`{"additionalProperties":{"type":"string"}}`, `{"properties":{"a":{"type":"string"}}}`, true},
		{`{"additionalProperties":{"type":"string"}}`, `{"properties":{"a":{"type":"number"}}}`, false},
		{`{"properties":{"a":{"minimum":1}}}`, `{"properties":{"a":{"minimum":0}}}`, true},
		{`{"properties":{"a":{"minimum":1}}}`, `{"properties":{"a":{"exclusiveMinimum":1}}}`, false},
		{`{"properties":{"a":{"exclusiveMinimum":1}}}`, `{"properties":{"a":{"minimum":1}}}`, true},
		{`{"properties":{"a":{"maximum":1}}}`, `{"properties":{"a":{"maximum":1.01}}}`, true},
		{`{"properties":{"a":{"maxLength":5}}}`, `{"properties":{"a":{"maxLength":4}}}`, false},
		{`{"properties":{"a":{"maxLength":5}}}`, `{"properties":{"a":{"maxLength":6,"minLength":0}}}`, true},
		{`{"properties":{"a":{"pattern":"^a"}}}`, `{"properties":{"a":{"pattern":"^a|b"}}}`, false},
		{`{"properties":{"a":{"pattern":"^a"}}}`, `{"properties":{"a":{}}}`, true},
		{`{"properties":{"a":{"items":{"type":"integer"}}}}`, `{"properties":{"a":{"items":{"type":"number"}}}}`, true},
		{`{"properties":{"a":{}}}`, `{"properties":{"a":{"items":{"type":"number"}}}}`, false},
		{`{"properties":{"a":{"uniqueItems":true}}}`, `{"properties":{"a":{"uniqueItems":false}}}`, true},
		{`{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":{"anyOf":[{"type":"number"},{"type":"string"}]}}}`, true},
		{`{"properties":{"a":{"oneOf":[{"type":"number"}]}}}`, `{"properties":{"a":{"oneOf":[{"type":"number","title":"n"}]}}}`, true},
		{`{"properties":{"a":{"oneOf":[{"type":"number"}]}}}`, `{"properties":{"a":{"oneOf":[{"type":"number"},{"type":"integer"}]}}}`, false},
		{`{"properties":{"a":{"$ref":"#/$defs/q"}},"$defs":{"q":{"type":"integer"}}}`, `{"properties":{"a":{"$ref":"#/$defs/r"}},"$defs":{"r":{"type":"number"}}}`, true},
		{`{"properties":{"a":{"$ref":"#/$defs/q"}},"$defs":{"q":{"type":"number"}}}`, `{"properties":{"a":{"$ref":"#/$defs/q"}},"$defs":{"q":{"type":"integer"}}}`, false},
		{`{"$ref":"#/$defs/t","$defs":{"t":{"properties":{"n":{"$ref":"#/$defs/t"},"v":{"type":"integer"}}}}}`, `{"$ref":"#/$defs/t","$defs":{"t":{"properties":{"n":{"$ref":"#/$defs/t"},"v":{"type":"number"}}}}}`, true},
		{`{"$ref":"#/$defs/t","$defs":{"t":{"properties":{"n":{"$ref":"#/$defs/t"},"v":{"type":"number"}}}}}`, `{"$ref":"#/$defs/t","$defs":{"t":{"properties":{"n":{"$ref":"#/$defs/t"},"v":{"type":"integer"}}}}}`, false},
		{`{"title":"a","properties":{"title":{"type":"string"}}}`, `{"title":"b","properties":{"title":{"type":"string","x-strongroom":{"title":true}}}}`, true},
		{`{"properties":{"title":{"type":"string"}}}`, `{"properties":{"title":{"type":"number"}}}`, false},
		{`{"not":{"properties":{"title":{"type":"string"}}}}`, `{"not":{"properties":{"title":{"type":"number"}}}}`, false},
		{`{"$id":"https://a.example/b"}`, `{"$id":"https://a.example/b","title":"t"}`, true},
		{`{"$anchor":"a"}`, `{}`, false},
		{`{"if":{"required":["a"]},"then":{"required":["b"]}}`, `{"if":{"required":["a"]}}`, false},
		{`{"x-other":1}`, `{"x-other":2}`, true},
		{`false`, `{}`, true},
		{`{`, `{}`, false},
		{`{}`, `{`, false},
	} {
		if got := Widens([]byte(tt.old), []byte(tt.next)); got != tt.want {
			t.Errorf("%s to %s: %v", tt.old, tt.next, got)
		}
	}
}

// maker makes schemas and contents at random, small enough to meet.
type maker struct{ r *rand.Rand }

func (m maker) pick(list ...string) string { return list[m.r.IntN(len(list))] }

func (m maker) schema(depth int) string {
	if m.r.IntN(12) == 0 {
		return m.pick("true", "true", "false", `{"$ref":"#/$defs/d"}`, `{"$ref":"#/$defs/d","minimum":1}`, `{"$ref":"#/$defs/e","properties":{"a":{"type":"number"}}}`)
	}
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	maybe := func(n int) bool { return m.r.IntN(n) == 0 }
	if maybe(3) {
		add(`"type":%s`, m.pick(`"object"`, `"object"`, `"number"`, `"integer"`, `"string"`, `"array"`, `["object","number"]`, `["integer","string"]`, `["array","null","object"]`))
	}
	if maybe(8) {
		add(`"enum":%s`, m.pick(`[1,2]`, `["a"]`, `[1,"a",{}]`, `[[],null]`, `[1.5,1]`))
	}
	if maybe(12) {
		add(`"const":%s`, m.pick(`1`, `"a"`, `{}`, `1.0`))
	}
	for _, k := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} {
		if maybe(10) {
			add(`"%s":%d`, k, m.r.IntN(4))
		}
	}
	for _, k := range []string{"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"} {
		if maybe(12) {
			add(`"%s":%d`, k, m.r.IntN(3))
		}
	}
	if maybe(4) {
		add(`"required":[%s]`, m.pick(`"a"`, `"b"`, `"a","b"`, ``))
	}
	if maybe(15) {
		add(`"uniqueItems":%s`, m.pick("true", "false"))
	}
	if maybe(15) {
		add(`"pattern":"%s"`, m.pick("a", "^$"))
	}
	if depth > 0 {
		sub := func() string { return m.schema(depth - 1) }
		if maybe(2) {
			add(`"properties":{"a":%s,"%s":%s}`, sub(), m.pick("b", "c"), sub())
		}
		if maybe(4) {
			add(`"additionalProperties":%s`, m.pick("false", sub()))
		}
		if maybe(12) {
			add(`"patternProperties":{"%s":%s}`, m.pick("a", "b|c"), sub())
		}
		if maybe(5) {
			add(`"items":%s`, sub())
		}
		if maybe(15) {
			add(`"prefixItems":[%s]`, sub())
		}
		for _, k := range []string{"allOf", "anyOf", "oneOf"} {
			if maybe(12) {
				add(`"%s":[%s,%s]`, k, sub(), sub())
			}
		}
		for _, k := range []string{"not", "if", "then", "else", "contains", "propertyNames"} {
			if maybe(16) {
				add(`"%s":%s`, k, sub())
			}
		}
		if maybe(20) {
			add(`"minContains":%d`, m.r.IntN(3))
		}
		if maybe(20) {
			add(`"dependentRequired":{"a":["b"]}`)
		}
		if maybe(20) {
			add(`"unevaluatedProperties":%s`, m.pick("false", sub()))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (m maker) root() string {
	top := strings.TrimSuffix(strings.TrimPrefix(m.object(2), "{"), "}")
	if top != "" {
		top += ","
	}
	return "{" + top + `"$defs":{"d":` + m.schema(1) + `,"e":` + m.object(1) + `}}`
}

func (m maker) object(depth int) string {
	for {
		if s := m.schema(depth); strings.HasPrefix(s, "{") && !strings.Contains(s, "$ref") {
			return s
		}
	}
}

// near changes a schema a little, so that pairs are close enough to compare.
func (m maker) near(schema string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(schema))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return schema
	}
	m.touch(v)
	b, _ := json.Marshal(v)
	return string(b)
}

func (m maker) touch(v any) {
	node, ok := v.(map[string]any)
	if !ok {
		return
	}
	for name, sub := range node {
		switch {
		case name == "$defs" || name == "properties" || name == "patternProperties":
			if subs, ok := sub.(map[string]any); ok {
				for k, one := range subs {
					if m.r.IntN(6) == 0 {
						subs[k] = true
					}
					m.touch(one)
				}
			}
		case m.r.IntN(8) == 0:
			delete(node, name)
		case strings.HasPrefix(name, "min") || strings.HasPrefix(name, "max") || strings.HasPrefix(name, "exclusive"):
			if m.r.IntN(2) == 0 {
				node[name] = json.Number(fmt.Sprint(m.r.IntN(4)))
			}
		case name == "additionalProperties" && m.r.IntN(3) == 0:
			node[name] = true
		default:
			m.touch(sub)
			if list, ok := sub.([]any); ok {
				for _, one := range list {
					m.touch(one)
				}
			}
		}
	}
	if m.r.IntN(6) == 0 {
		var more map[string]any
		d := json.NewDecoder(strings.NewReader(m.object(1)))
		d.UseNumber()
		if d.Decode(&more) == nil {
			for k, sub := range more {
				node[k] = sub
				break
			}
		}
	}
}

func (m maker) value(depth int) string {
	switch n := m.r.IntN(8); {
	case n < 3 && depth > 0:
		var parts []string
		for _, name := range []string{"a", "b", "c"} {
			if m.r.IntN(2) == 0 {
				parts = append(parts, `"`+name+`":`+m.value(depth-1))
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	case n == 3 && depth > 0:
		var parts []string
		for range m.r.IntN(3) {
			parts = append(parts, m.value(depth-1))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return m.pick("0", "1", "2", "3", "1.5", `""`, `"a"`, `"ab"`, "null", "true", "{}", "[]")
}

// The law of the proof: whatever the old schema takes, the new one takes.
func TestAProofOfWideningIsNeverWrong(t *testing.T) {
	t.Parallel()
	rounds := 2_500
	if testing.Short() {
		rounds = 500
	}
	m := maker{rand.New(rand.NewPCG(7, 11))}
	proofs, accepted := 0, 0
	for range rounds {
		old := m.root()
		next := m.near(old)
		if m.r.IntN(10) == 0 {
			next = m.root()
		}
		o, err := Compile([]byte(old), "")
		if err != nil {
			continue
		}
		n, err := Compile([]byte(next), "")
		if err != nil || !Widens([]byte(old), []byte(next)) {
			continue
		}
		proofs++
		for range 60 {
			text := m.value(3)
			if text[0] != '{' {
				continue
			}
			c := content(t, text)
			if o.Validate(c, "") != nil {
				continue
			}
			accepted++
			if err := n.Validate(c, ""); err != nil {
				t.Fatalf("%s\nto\n%s\nis no widening: %s", old, next, text)
			}
		}
	}
	if proofs < rounds/50 || accepted < proofs {
		t.Errorf("%d proofs and %d contents: too few to say anything", proofs, accepted)
	}
	t.Logf("%d proofs, %d contents", proofs, accepted)
}
