// Package pyclient writes the generated half of the Python client from the
// API's description: a dataclass for each answer, a TypedDict for each part of
// a request, a method for each operation.
//
// It promises that the same description gives the same text, that nothing of
// the description is left out in silence (what it has no form for is an error),
// and that no text of the description can become code: it appears in string
// literals and names that are checked alone. The half that is written by hand,
// clients/python/strongroom/_client.py, sends, decodes and raises.
package pyclient

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"strongroom/internal/web/openapi"
)

// Generate returns the text of strongroom/_generated.py.
func Generate(description []byte) (string, error) {
	doc, err := openapi.Parse(description)
	if err != nil {
		return "", err
	}
	g := &generator{doc: doc, types: map[string]string{}}
	if err := g.operations(); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(head)
	for _, name := range g.order {
		b.WriteString("\n\n" + g.types[name])
	}
	b.WriteString("\n\n" + g.methods.String())
	b.WriteString("\n\n__all__ = [\n    \"Operations\",\n")
	for _, name := range slices.Sorted(slices.Values(g.order)) {
		b.WriteString("    " + quote(name) + ",\n")
	}
	b.WriteString("]\n")
	return b.String(), nil
}

const head = `"""The operations of the API and what they answer.

Generated from the API's description by internal/testkit/pyclient; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO, Literal, Mapping, Required, Sequence, TypedDict

from ._client import UNSET, Caller, Download, Pages, Secret, Unset
`

type generator struct {
	doc     *openapi.Document
	types   map[string]string // text by class name
	order   []string
	methods strings.Builder
}

var (
	identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
	keywords   = strings.Fields("False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield self")
)

// reserved are names that the generated module uses for something else.
var reserved = strings.Fields("Any BinaryIO Caller Client Decimal Detail Download Literal Mapping Operations Pages Problem Required Secret Sequence TypedDict Unset")

// snake makes a Python name of a name of the API.
func snake(name string) (string, error) {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	if !identifier.MatchString(name) {
		return "", fmt.Errorf("pyclient: %q is no name in Python", name)
	}
	if slices.Contains(keywords, name) {
		name += "_"
	}
	return name, nil
}

// quote writes a string literal. JSON's are Python's, but for what JSON leaves
// as it is and Python would take for the end of a line.
func quote(s string) string {
	b, _ := json.Marshal(s)
	return strings.NewReplacer("\u2028", `\u2028`, "\u2029", `\u2029`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
}

// docstring writes lines as a docstring, indented.
func docstring(indent string, lines ...string) string {
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	safe := strings.NewReplacer(`\`, `\\`, `"""`, `\"\"\"`)
	if len(lines) == 1 && !strings.HasSuffix(lines[0], `"`) && len(lines[0])+len(indent) < 110 {
		return indent + `"""` + safe.Replace(lines[0]) + "\"\"\"\n"
	}
	var b strings.Builder
	b.WriteString(indent + `"""` + safe.Replace(lines[0]) + "\n")
	for _, l := range lines[1:] {
		if l == "" {
			b.WriteString("\n")
			continue
		}
		b.WriteString(indent + safe.Replace(l) + "\n")
	}
	b.WriteString(indent + "\"\"\"\n")
	return b.String()
}

// wrap breaks text into lines of some 100 characters.
func wrap(text, hang string) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > 100 {
			lines = append(lines, line)
			line = hang
		}
		if line != "" && line != hang {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

func camel(name string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// typeOf writes a type. asked: of a request. hint names a shape that has no
// name of its own.
func (g *generator) typeOf(s *openapi.Schema, asked bool, hint string) (string, error) {
	if s == nil {
		return "Any", nil
	}
	if s.Ref != "" {
		hint = s.Name()
	}
	r := g.doc.Resolve(s)
	switch {
	case len(r.OneOf)+len(r.AnyOf) > 0:
		return "Any", nil
	case len(r.Enum) > 0:
		var all []string
		for _, v := range r.Enum {
			var text string
			var number int64
			switch {
			case json.Unmarshal(v, &text) == nil:
				all = append(all, quote(text))
			case json.Unmarshal(v, &number) == nil:
				all = append(all, strconv.FormatInt(number, 10))
			default:
				return "", fmt.Errorf("pyclient: %s: an enum of something other than texts and whole numbers", hint)
			}
		}
		return "Literal[" + strings.Join(all, ", ") + "]", nil
	case len(r.Type) == 0:
		return "Any", nil
	case r.Type.Is("string") && r.Format == "date-time":
		return "datetime", nil
	case r.Type.Is("string") && r.Format == "password":
		if asked {
			return "str | Secret", nil
		}
		return "Secret", nil
	case r.Type.Is("string"):
		return "str", nil
	case r.Type.Is("integer"):
		return "int", nil
	case r.Type.Is("number"):
		if asked {
			return "Decimal | int | float", nil
		}
		return "Decimal", nil
	case r.Type.Is("boolean"):
		return "bool", nil
	case r.Type.Is("array"):
		item, err := g.typeOf(r.Items, asked, hint+"Item")
		if asked {
			return "Sequence[" + item + "]", err
		}
		return "list[" + item + "]", err
	case r.Type.Is("object") && len(r.Properties) > 0:
		return g.class(r, asked, hint)
	case r.Type.Is("object"):
		value := "Any"
		if r.Additional != nil && r.Additional.Schema != nil {
			var err error
			if value, err = g.typeOf(r.Additional.Schema, asked, hint+"Value"); err != nil {
				return "", err
			}
		}
		if asked {
			return "Mapping[str, " + value + "]", nil
		}
		return "dict[str, " + value + "]", nil
	}
	return "", fmt.Errorf("pyclient: %s: no form for the type %v", hint, r.Type)
}

// class declares a shape once and returns its name.
func (g *generator) class(s *openapi.Schema, asked bool, name string) (string, error) {
	if asked {
		name += "Input"
	}
	if !identifier.MatchString(name) {
		return "", fmt.Errorf("pyclient: %q is no name in Python", name)
	}
	if slices.Contains(reserved, name) {
		return "", fmt.Errorf("pyclient: %s has another meaning in the client", name)
	}
	if _, done := g.types[name]; done {
		return name, nil
	}
	g.types[name] = "" // so that a shape that holds itself ends here
	var b strings.Builder
	about := s.Description
	if about == "" {
		about = "An answer, or a part of one."
		if asked {
			about = "A part of a request."
		}
	}
	lines := append(wrap(about, ""), "")
	var members strings.Builder
	for _, f := range s.Fields() {
		kind, err := g.typeOf(f.Schema, asked, name+camel(f.Name))
		if err != nil {
			return "", err
		}
		field, err := snake(f.Name)
		// An answer's field may be called as Python's own words are: from_ for
		// from. A key of a request may not, as a caller writes it himself.
		if err != nil || strings.TrimSuffix(field, "_") != f.Name || asked && field != f.Name {
			return "", fmt.Errorf("pyclient: %s.%s is no name for a field", name, f.Name)
		}
		words := f.Schema.Description
		if words == "" {
			words = g.doc.Resolve(f.Schema).Description
		}
		if words != "" {
			lines = append(lines, wrap(field+": "+words, "    ")...)
		}
		switch {
		case asked && f.Required:
			fmt.Fprintf(&members, "    %s: Required[%s]\n", field, kind)
		case asked:
			fmt.Fprintf(&members, "    %s: %s\n", field, kind)
		case f.Required:
			fmt.Fprintf(&members, "    %s: %s\n", field, kind)
		default:
			fmt.Fprintf(&members, "    %s: %s | None = None\n", field, kind)
		}
	}
	if asked {
		fmt.Fprintf(&b, "class %s(TypedDict, total=False):\n", name)
	} else {
		fmt.Fprintf(&b, "@dataclass(frozen=True, slots=True, kw_only=True)\nclass %s:\n", name)
	}
	b.WriteString(docstring("    ", lines...) + "\n" + members.String())
	g.types[name] = b.String()
	g.order = append(g.order, name)
	return name, nil
}

func (g *generator) operations() error {
	g.methods.WriteString("class Operations(Caller):\n" + docstring("    ", "Every operation of the API, as a method."))
	for _, op := range g.doc.Operations() {
		if err := g.method(op); err != nil {
			return fmt.Errorf("%s: %w", op.ID, err)
		}
	}
	return nil
}

// argument is one of a method's.
type argument struct {
	name, kind, about string
	required          bool
}

func (a argument) text() string {
	if a.required {
		return a.name + ": " + a.kind
	}
	return a.name + ": " + a.kind + " | Unset = UNSET"
}

// ours are headers that the client sends by itself.
var ours = []string{"Strongroom-Purpose"}

func (g *generator) method(op *openapi.Operation) error {
	name, err := snake(op.ID)
	if err != nil {
		return err
	}
	var positional, named []argument
	var query, headers []string
	paged, purpose, keyed := false, false, false
	path := quote(op.Path)
	for _, m := range regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(op.Path, -1) {
		for _, p := range op.Parameters {
			if p.In == "path" && p.Name == m[1] {
				arg, err := snake(p.Name)
				if err != nil {
					return err
				}
				positional = append(positional, argument{arg, "str", p.Description, true})
			}
		}
	}
	for _, p := range op.Parameters {
		arg, err := snake(p.Name)
		if err != nil {
			return err
		}
		kind, err := g.typeOf(p.Schema, true, camel(op.ID)+camel(p.Name))
		if err != nil {
			return err
		}
		switch {
		case p.In == "path":
		case p.In == "query" && p.Name == "cursor":
			paged = true
		case p.In == "query":
			named = append(named, argument{arg, kind, p.Description, p.Required})
			query = append(query, quote(p.Name)+": "+arg)
		case slices.Contains(ours, p.Name):
			purpose = true
		case p.Name == "Idempotency-Key":
			keyed = true
			named = append(named, argument{arg, "str", "A key of one's own, to repeat the request from elsewhere.", false})
		case p.Name == "If-Match":
			named = append(named, argument{arg, "int", "The version that was read.", p.Required})
			headers = append(headers, quote(p.Name)+": "+arg)
		case p.Name == "Content-Disposition":
			named = append(named, argument{"filename", "str", "The file's name.", p.Required})
			headers = append(headers, quote(p.Name)+": filename")
		case p.In == "header":
			named = append(named, argument{arg, "str", p.Description, p.Required})
			headers = append(headers, quote(p.Name)+": "+arg)
		default:
			return fmt.Errorf("pyclient: no form for a parameter in %s", p.In)
		}
	}
	body := ""
	if op.RequestBody != nil {
		if s := op.RequestBody.JSON(); s != nil {
			r := g.doc.Resolve(s)
			var parts []string
			for _, f := range r.Fields() {
				arg, err := snake(f.Name)
				if err != nil {
					return err
				}
				kind, err := g.typeOf(f.Schema, true, camel(op.ID)+camel(f.Name))
				if err != nil {
					return err
				}
				about := f.Schema.Description
				if about == "" {
					about = g.doc.Resolve(f.Schema).Description
				}
				if slices.ContainsFunc(slices.Concat(positional, named), func(a argument) bool { return a.name == arg }) {
					arg = "new_" + arg // what the body says anew and the path names as it is
				}
				named = append(named, argument{arg, kind, about, f.Required})
				parts = append(parts, quote(f.Name)+": "+arg)
			}
			body = "{" + strings.Join(parts, ", ") + "}"
		} else {
			positional = append(positional, argument{"body", "BinaryIO | bytes", op.RequestBody.Description, true})
			named = append(named, argument{"media_type", "str", "Of the bytes.", false})
		}
	}
	_, answer := op.Success()
	if answer == nil {
		return fmt.Errorf("pyclient: no success is described")
	}
	returns, kind := "None", "None"
	switch s := answer.JSON(); {
	case s != nil && paged:
		page := g.doc.Resolve(s)
		if page.Properties["items"] == nil || op.Method != http.MethodGet {
			return fmt.Errorf("pyclient: a list without items")
		}
		if kind, err = g.typeOf(g.doc.Resolve(page.Properties["items"]).Items, false, camel(op.ID)+"Item"); err != nil {
			return err
		}
		returns = "Pages[" + kind + "]"
	case s != nil:
		if kind, err = g.typeOf(s, false, camel(op.ID)+"Answer"); err != nil {
			return err
		}
		returns = kind
	case len(answer.Content) > 0:
		returns, kind = "Download", "Download"
	}

	slices.SortStableFunc(named, func(a, b argument) int { return boolRank(a.required) - boolRank(b.required) })
	signature := []string{"self"}
	for _, a := range positional {
		signature = append(signature, a.text())
	}
	if len(named) > 0 {
		signature = append(signature, "*")
	}
	for _, a := range named {
		signature = append(signature, a.text())
	}
	lines := append(wrap(op.Summary+".", ""), "")
	if op.Description != "" {
		for part := range strings.SplitSeq(op.Description, "\n\n") {
			lines = append(append(lines, wrap(part, "")...), "")
		}
	}
	for _, a := range slices.Concat(positional, named) {
		if a.about != "" {
			lines = append(lines, wrap(a.name+": "+a.about, "    ")...)
		}
	}
	if lines[len(lines)-1] != "" {
		lines = append(lines, "")
	}
	lines = append(lines, op.Method+" "+op.Path+", action "+op.Action)

	b := &g.methods
	one := fmt.Sprintf("    def %s(%s) -> %s:\n", name, strings.Join(signature, ", "), returns)
	if len(one) > 110 {
		one = fmt.Sprintf("    def %s(\n        %s,\n    ) -> %s:\n", name, strings.Join(signature, ",\n        "), returns)
	}
	b.WriteString("\n" + one + docstring("        ", lines...))
	var args []string
	var pathArgs []string
	for _, m := range regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(op.Path, -1) {
		arg, err := snake(m[1])
		if err != nil {
			return err
		}
		pathArgs = append(pathArgs, quote(m[1])+": "+arg)
	}
	call := "_call"
	switch {
	case paged:
		call = "_list"
	case kind == "Download":
		call = "_download"
	}
	args = append(args, quote(op.Method), path, "{"+strings.Join(pathArgs, ", ")+"}")
	if call != "_download" {
		args = append(args, kind)
	}
	add := func(name, value string, when bool) {
		if when {
			args = append(args, name+"="+value)
		}
	}
	add("query", "{"+strings.Join(query, ", ")+"}", len(query) > 0)
	add("headers", "{"+strings.Join(headers, ", ")+"}", len(headers) > 0)
	add("json", body, body != "")
	add("stream", "body", op.RequestBody != nil && body == "")
	add("media_type", "media_type", op.RequestBody != nil && body == "")
	add("idempotency_key", "idempotency_key", keyed)
	add("keyed", "True", keyed)
	add("purpose", "True", purpose)
	add("signed", "False", len(op.Security) == 0)
	prefix := "return "
	if returns == "None" {
		prefix = ""
	}
	fmt.Fprintf(b, "        %sself.%s(\n            %s,\n        )\n", prefix, call, strings.Join(args, ",\n            "))
	return nil
}

func boolRank(required bool) int {
	if required {
		return 0
	}
	return 1
}
