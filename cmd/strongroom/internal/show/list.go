package show

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/mattn/go-runewidth"
)

// Format is how output is written.
type Format string

// The formats.
const (
	Table  Format = "table"
	AsJSON Format = "json"
	CSV    Format = "csv"
)

// String implements pflag.Value.
func (f *Format) String() string { return string(*f) }

// Set implements pflag.Value.
func (f *Format) Set(s string) error {
	switch Format(s) {
	case Table, AsJSON, CSV:
		*f = Format(s)
		return nil
	}
	return fmt.Errorf("must be table, json or csv")
}

// Type implements pflag.Value.
func (f *Format) Type() string { return "table|json|csv" }

// Column is one column of a list of T.
type Column[T any] struct {
	Name  string
	Value func(T) string
	Width int // cut longer values in tables; 0: never
}

// sample is how many rows decide a table's column widths: later rows are not
// waited for.
const sample = 100

// List prints items as they come. Where the list goes on, next returns the
// cursor after the last item; nil: lists have no pages.
func List[T any](w io.Writer, f Format, columns []Column[T], items iter.Seq2[T, error], next func() string) error {
	b := bufio.NewWriter(w)
	var err error
	switch f {
	case AsJSON:
		err = listJSON(b, items, next)
	case CSV:
		err = listCSV(b, columns, items)
	default:
		err = listTable(b, columns, items)
	}
	if err2 := b.Flush(); err == nil {
		err = err2
	}
	return err
}

func listJSON[T any](w io.Writer, items iter.Seq2[T, error], next func() string) error {
	sep := "{\"items\":[\n"
	for item, err := range items {
		if err != nil {
			return err
		}
		text, err := marshal(item, "")
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s  %s", sep, text); err != nil {
			return err
		}
		sep = ",\n"
	}
	if sep != ",\n" {
		sep = "{\"items\":["
	} else {
		sep = "\n"
	}
	tail := "null"
	if next != nil && next() != "" {
		text, err := marshal(next(), "")
		if err != nil {
			return err
		}
		tail = string(text)
	}
	_, err := fmt.Fprintf(w, "%s],\"next\":%s}\n", sep, tail)
	return err
}

func listCSV[T any](w io.Writer, columns []Column[T], items iter.Seq2[T, error]) error {
	c := csv.NewWriter(w)
	line := make([]string, len(columns))
	for i, col := range columns {
		line[i] = strings.ToLower(strings.ReplaceAll(col.Name, " ", "_"))
	}
	_ = c.Write(line)
	for item, err := range items {
		if err != nil {
			c.Flush()
			return err
		}
		for i, col := range columns {
			line[i] = Cell(col.Value(item))
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func listTable[T any](w io.Writer, columns []Column[T], items iter.Seq2[T, error]) error {
	var rows [][]string
	widths := make([]int, len(columns))
	head := make([]string, len(columns))
	for i, col := range columns {
		head[i] = col.Name
		widths[i] = runewidth.StringWidth(col.Name)
	}
	begin := func() {
		line(w, head, widths)
		for _, r := range rows {
			line(w, r, widths)
		}
		rows = nil
	}
	n := 0
	for item, err := range items {
		if err != nil {
			if n < sample && n > 0 {
				begin()
			}
			return err
		}
		row := make([]string, len(columns))
		for i, col := range columns {
			row[i] = Text(col.Value(item))
			if col.Width > 0 {
				row[i] = runewidth.Truncate(row[i], col.Width, "…")
			}
		}
		if n++; n <= sample {
			for i, cell := range row {
				widths[i] = max(widths[i], runewidth.StringWidth(cell))
			}
			rows = append(rows, row)
			if n == sample {
				begin()
			}
			continue
		}
		line(w, row, widths)
	}
	if n < sample && n > 0 {
		begin()
	}
	return nil
}

func line(w io.Writer, cells []string, widths []int) {
	var b strings.Builder
	for i, cell := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(cell)
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", max(0, widths[i]-runewidth.StringWidth(cell))))
		}
	}
	_, _ = io.WriteString(w, strings.TrimRight(b.String(), " ")+"\n")
}

// One prints one thing: in a table a line for each column.
func One[T any](w io.Writer, f Format, columns []Column[T], item T) error {
	switch f {
	case AsJSON:
		return Object(w, item)
	case CSV:
		return List(w, CSV, columns, func(yield func(T, error) bool) { yield(item, nil) }, nil)
	}
	width := 0
	for _, col := range columns {
		width = max(width, len(col.Name))
	}
	for _, col := range columns {
		name := col.Name[:1] + strings.ToLower(col.Name[1:])
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, name, Text(col.Value(item))); err != nil {
			return err
		}
	}
	return nil
}

// Object prints v as indented JSON.
func Object(w io.Writer, v any) error {
	text, err := marshal(v, "  ")
	if err == nil {
		_, err = fmt.Fprintf(w, "%s\n", text)
	}
	return err
}

func marshal(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return JSON(bytes.TrimRight(b.Bytes(), "\n")), nil
}

// Pair is a name and a value of a JSON text, for tables of things whose shape
// the server decides.
type Pair struct{ Name, Value string }

// Flatten lists the values of a JSON text in their order, named by their path.
func Flatten(text []byte) ([]Pair, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var out []Pair
	err := flatten(d, "", &out)
	return out, err
}

func flatten(d *json.Decoder, path string, out *[]Pair) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	under := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	switch v := t.(type) {
	case json.Delim:
		for i := 0; d.More(); i++ {
			name := fmt.Sprint(i)
			if v == '{' {
				key, err := d.Token()
				if err != nil {
					return err
				}
				name = key.(string)
			}
			if err := flatten(d, under(name), out); err != nil {
				return err
			}
		}
		_, err = d.Token()
		return err
	case nil:
		*out = append(*out, Pair{path, "-"})
	default:
		*out = append(*out, Pair{path, fmt.Sprint(v)})
	}
	return nil
}
