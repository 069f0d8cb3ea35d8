package kind

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"math/big"
	"reflect"
	"sort"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"strongroom/internal/base/fault"
)

// A schema of a few hundred bytes can ask for 2^64 steps: thirty definitions,
// each of them twice "all of" the next. The library has no limit and no way to
// stop it, so the work is bounded before it is begun:
//
//   - At compile time the references are unfolded into the tree that the
//     library walks, as a number. Every node of that tree meets a value at most
//     once, so nodes × values bounds the work. For nearly every schema and
//     record that is small, and the check is done.
//   - Otherwise (recursion, or much content) the same sum is taken exactly, over
//     pairs of subschema and value, each pair once.
//
// One unit is about six nanoseconds.
const (
	maxCost  = 25_000_000 // units, for one record
	maxPairs = 500_000    // pairs of subschema and value that the exact sum may look at

	visit       = 50 // one subschema meets one value
	eachMember  = 30 // of an object, or item of an array
	eachAllowed = 20 // value in an enum or const that is compared; a number counts fivefold
	eachUnique  = 60 // value below an array with uniqueItems
)

// node is what the bound knows of one subschema.
type node struct {
	fixed        int64 // each visit
	perByte      int64 // of a string
	perNameByte  int64 // of an object's member names
	perDescended int64 // values below this one, for uniqueItems

	same     []*node // applied to the same value
	members  map[string]*node
	patterns []*node // applied to every member, to be safe
	items    []*node // applied to every item
	prefix   []*node // applied to the items at these places
	names    *node   // applied to every member's name

	state    uint8 // of the walk: 0 new, 1 under way, 2 done
	depth    int   // the longest chain of same
	own, all load  // of this value alone; with everything below
}

// load is work as a function of the content: fixed × values + bytes × bytes.
type load struct{ fixed, bytes int64 }

const endless = int64(1) << 40 // beyond every limit, and far from overflow

func (l load) plus(o load) load {
	return load{min(l.fixed+o.fixed, endless), min(l.bytes+o.bytes, endless)}
}

func (n *node) load() load {
	return load{n.fixed + eachMember + n.perDescended, n.perByte + n.perNameByte}
}

// graph builds the nodes of a compiled schema.
type graph struct {
	nodes   map[*jsonschema.Schema]*node
	order   []*jsonschema.Schema
	anchors map[string][]*node
}

func (g *graph) build(root *jsonschema.Schema, at string) (*node, error) {
	tooComplex := fault.At(fault.Invalid, at, "too_complex",
		fmt.Sprintf("a schema has at most %d subschemas, and at most %d of them applied to one value in a row", maxSubschemas, maxReferences))
	g.anchors = map[string][]*node{}
	g.node(root)
	for i := 0; i < len(g.order); i++ { // grows while it is walked
		s := g.order[i]
		if len(g.order) > maxSubschemas {
			return nil, tooComplex
		}
		if s.DraftVersion != 2020 {
			return nil, fault.At(fault.Invalid, at, "dialect", "the only dialect is "+Dialect)
		}
		g.fill(g.nodes[s], s)
	}
	for _, s := range g.order {
		if s.DynamicRef != nil && s.DynamicRef.Anchor != "" {
			// Which of them it is depends on the way there: count all.
			n := g.nodes[s]
			n.same = append(n.same, g.anchors[s.DynamicRef.Anchor]...)
		}
	}
	for _, s := range g.order {
		switch g.nodes[s].settle() {
		case errCycle:
			return nil, fault.At(fault.Invalid, at, "reference_cycle", "a reference leads back to itself without stepping into the value")
		case errDepth:
			return nil, tooComplex
		}
	}
	for _, s := range g.order {
		g.nodes[s].state = 0
	}
	top := g.nodes[root]
	top.unfold()
	return top, nil
}

// node returns s's node and queues s the first time.
func (g *graph) node(s *jsonschema.Schema) *node {
	if s == nil {
		return nil
	}
	if n, ok := g.nodes[s]; ok {
		return n
	}
	n := &node{}
	g.nodes[s] = n
	g.order = append(g.order, s)
	return n
}

func (g *graph) fill(n *node, s *jsonschema.Schema) {
	same := func(list ...*jsonschema.Schema) {
		for _, s := range list {
			if s != nil {
				n.same = append(n.same, g.node(s))
			}
		}
	}
	n.fixed = visit + int64(len(s.Required))
	if s.DynamicAnchor != "" {
		g.anchors[s.DynamicAnchor] = append(g.anchors[s.DynamicAnchor], n)
	}
	same(s.Ref, s.Not, s.If, s.Then, s.Else)
	same(s.AllOf...)
	same(s.AnyOf...)
	same(s.OneOf...)
	if s.DynamicRef != nil {
		same(s.DynamicRef.Ref)
	}
	for _, sub := range s.DependentSchemas {
		same(sub)
	}
	for _, names := range s.DependentRequired {
		n.fixed += int64(len(names))
	}
	if s.Enum != nil {
		for _, v := range s.Enum.Values {
			n.fixed += eachAllowed * int64(countValues(v))
		}
	}
	if s.Const != nil {
		n.fixed += eachAllowed * int64(countValues(*s.Const))
	}
	if p, ok := s.Pattern.(*pattern); ok {
		n.perByte += int64(p.size)
	}
	if s.MinLength != nil || s.MaxLength != nil {
		n.perByte++
	}
	if s.Format != nil {
		n.perByte += 20
		if s.Format.Name == "regex" { // the value is compiled as an expression
			n.fixed += 5_000
			n.perByte += 300
		}
	}

	if len(s.Properties) > 0 {
		n.members = make(map[string]*node, len(s.Properties))
		for name, sub := range s.Properties {
			n.members[name] = g.node(sub)
		}
	}
	for re, sub := range s.PatternProperties {
		n.patterns = append(n.patterns, g.node(sub))
		n.perNameByte += int64(re.(*pattern).size)
	}
	if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		n.patterns = append(n.patterns, g.node(sub))
	}
	if s.UnevaluatedProperties != nil {
		n.patterns = append(n.patterns, g.node(s.UnevaluatedProperties))
	}
	n.names = g.node(s.PropertyNames)

	for _, sub := range s.PrefixItems {
		n.prefix = append(n.prefix, g.node(sub))
	}
	for _, sub := range []*jsonschema.Schema{s.Items2020, s.Contains, s.UnevaluatedItems} {
		if sub != nil {
			n.items = append(n.items, g.node(sub))
		}
	}
	if s.UniqueItems {
		// The library's own check can be made quadratic: its hash runs items
		// together, so thousands of different items are given one hash.
		s.UniqueItems = false
		s.Extensions = append(s.Extensions, unique{})
		n.perDescended = eachUnique
	}
}

func countValues(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			n += countValues(e)
		}
	case []any:
		for _, e := range v {
			n += countValues(e)
		}
	case json.Number: // compared as an exact fraction
		n = 5 + len(v)/8
	}
	return n
}

type settleResult uint8

const (
	settled settleResult = iota
	errCycle
	errDepth
)

// settle sums what a visit costs on one value, over the subschemas that are
// applied to that same value, and refuses a cycle among them.
func (n *node) settle() settleResult {
	switch n.state {
	case 1:
		return errCycle
	case 2:
		return settled
	}
	n.state = 1
	n.own = n.load()
	for _, s := range n.same {
		if r := s.settle(); r != settled {
			return r
		}
		n.own = n.own.plus(s.own)
		n.depth = max(n.depth, s.depth+1)
	}
	n.state = 2
	if n.depth > maxReferences {
		return errDepth
	}
	return settled
}

// unfold sums over everything that a visit leads to. A schema that refers back
// to itself has no such sum.
func (n *node) unfold() load {
	switch n.state {
	case 1:
		return load{endless, endless}
	case 2:
		return n.all
	}
	n.state = 1
	l := n.load()
	n.each(func(sub *node) { l = l.plus(sub.unfold()) })
	n.all, n.state = l, 2
	return l
}

// each calls fn with every subschema of n.
func (n *node) each(fn func(*node)) {
	for _, list := range [][]*node{n.same, n.patterns, n.items, n.prefix} {
		for _, s := range list {
			fn(s)
		}
	}
	for _, s := range n.members {
		fn(s)
	}
	if n.names != nil {
		fn(n.names)
	}
}

// affordable refuses content whose check would cost more than maxCost.
func (s *Schema) affordable(c *Content, at string) error {
	values, size := int64(c.values), int64(len(c.text))
	all := s.cost.all
	if all.fixed < endless && all.bytes < endless && all.fixed*values+all.bytes*size <= maxCost {
		return nil
	}
	m := meter{known: map[pair]int64{}}
	if m.cost(s.cost, c.value) > maxCost || m.pairs > maxPairs {
		return fault.At(fault.Invalid, at, "too_complex", "checking this content against the schema of its kind would take too long")
	}
	return nil
}

// meter takes the exact sum. Pairs are remembered by the address of the object
// or array; strings and numbers need no memory.
type meter struct {
	known map[pair]int64
	below map[uintptr]int64
	pairs int
}

type pair struct {
	n *node
	v uintptr
}

func (m *meter) cost(n *node, v any) int64 {
	if m.pairs++; m.pairs > maxPairs {
		return endless
	}
	var at uintptr
	switch v := v.(type) {
	case map[string]any:
		at = reflect.ValueOf(v).Pointer()
	case []any:
		at = reflect.ValueOf(v).Pointer()
	case string:
		return n.own.fixed + n.own.bytes*int64(len(v))
	default:
		return n.own.fixed
	}
	if c, ok := m.known[pair{n, at}]; ok {
		return c
	}
	sum := n.fixed
	add := func(c int64) { sum = min(sum+c, endless) }
	for _, s := range n.same {
		add(m.cost(s, v))
	}
	switch v := v.(type) {
	case map[string]any:
		add(eachMember * int64(len(v)))
		for name, e := range v {
			add(n.perNameByte * int64(len(name)))
			if s, ok := n.members[name]; ok {
				add(m.cost(s, e))
			}
			for _, s := range n.patterns {
				add(m.cost(s, e))
			}
			if n.names != nil {
				add(m.cost(n.names, name))
			}
		}
	case []any:
		add(eachMember * int64(len(v)))
		if n.perDescended > 0 {
			add(n.perDescended * m.descended(v))
		}
		for i, e := range v {
			if i < len(n.prefix) {
				add(m.cost(n.prefix[i], e))
			}
			for _, s := range n.items {
				add(m.cost(s, e))
			}
		}
	}
	m.known[pair{n, at}] = sum
	return sum
}

// descended counts the values in v, and every hundred bytes of text once more.
func (m *meter) descended(v any) int64 {
	var n int64 = 1
	var at uintptr
	switch v := v.(type) {
	case string:
		return 1 + int64(len(v))/100
	case map[string]any:
		at = reflect.ValueOf(v).Pointer()
		if known, ok := m.below[at]; ok {
			return known
		}
		for name, e := range v {
			n += int64(len(name))/100 + m.descended(e)
		}
	case []any:
		at = reflect.ValueOf(v).Pointer()
		if known, ok := m.below[at]; ok {
			return known
		}
		for _, e := range v {
			n += m.descended(e)
		}
	default:
		return 1
	}
	if m.below == nil {
		m.below = map[uintptr]int64{}
	}
	m.below[at] = n
	return n
}

// unique checks uniqueItems in linear time, by a text that two values share
// only if JSON Schema calls them equal.
type unique struct{}

var hashSeed = maphash.MakeSeed()

// Validate implements jsonschema.SchemaExt.
func (unique) Validate(ctx *jsonschema.ValidatorContext, v any) {
	items, ok := v.([]any)
	if !ok || len(items) < 2 {
		return
	}
	var text []byte
	seen := make(map[[2]uint64]int, len(items))
	for i, item := range items {
		text = canonical(text[:0], item)
		// Two seeded 64-bit hashes: nobody finds a collision without the seed.
		var h maphash.Hash
		h.SetSeed(hashSeed)
		_, _ = h.Write(text)
		a := h.Sum64()
		_ = h.WriteByte('2')
		k := [2]uint64{a, h.Sum64()}
		if j, twice := seen[k]; twice {
			ctx.AddError(&kind.UniqueItems{Duplicates: [2]int{j, i}})
			return
		}
		seen[k] = i
	}
}

// canonical appends a prefix-free text of v: numbers by value, members sorted.
func canonical(b []byte, v any) []byte {
	str := func(b []byte, s string) []byte {
		return append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		sort.Strings(names)
		b = binary.AppendUvarint(append(b, '{'), uint64(len(names)))
		for _, name := range names {
			b = canonical(str(b, name), v[name])
		}
		return b
	case []any:
		b = binary.AppendUvarint(append(b, '['), uint64(len(v)))
		for _, e := range v {
			b = canonical(b, e)
		}
		return b
	case string:
		return str(append(b, '"'), v)
	case json.Number:
		return str(append(b, '0'), canonicalNumber(string(v)))
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	}
	return append(b, 'n')
}

// canonicalNumber writes equal numbers alike: small integers as they are,
// everything else as a fraction.
func canonicalNumber(s string) string {
	if len(s) < 18 && s != "-0" && !strings.ContainsAny(s, ".eE") {
		return s
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return s
	}
	if r.IsInt() {
		return r.Num().String()
	}
	return r.String()
}
