package demo

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// The tables and structure files of the molecular group hold more than anybody
// would write down by hand. They become records as they are.
const (
	esolFile = "smiles/delaney-processed.csv"
	qm9SDF   = "sdf/qm9_mini.sdf"
	qm9Table = "sdf/qm9_mini.sdf.csv"
	aidsSDF  = "sdf/NCI_aids_few.sdf"
)

// structure is a record of the collection of that name. Numbers keep the
// digits that the file has.
type structure struct {
	Name        string       `json:"name"`
	SMILES      string       `json:"smiles,omitempty"`
	Formula     string       `json:"formula,omitempty"`
	Weight      json.Number  `json:"molecular_weight,omitempty"`
	CAS         string       `json:"cas,omitempty"`
	Identifiers []identifier `json:"identifiers,omitempty"`
	Properties  []property   `json:"properties,omitempty"`
	Source      string       `json:"source"`
}

type identifier struct {
	Scheme string `json:"scheme"`
	Value  string `json:"value"`
}

type property struct {
	Name   string      `json:"name"`
	Value  json.Number `json:"value"`
	Unit   string      `json:"unit,omitempty"`
	Method string      `json:"method,omitempty"`
}

type properties struct {
	Name       string     `json:"name"`
	Properties []property `json:"properties"`
}

// logSolubility is the unit of the columns "in mols per litre" of ESOL, which
// hold the decimal logarithm.
const logSolubility = "{log10(mol/L)}"

// qm9Units are those of the data set's own description (Ramakrishnan et al.,
// Scientific Data 1, 140022 (2014), table 3), but for the atomization energies
// and the heat capacity, which DeepChem gives in kilocalories and calories.
var qm9Units = map[string]string{"A": "GHz", "B": "GHz", "C": "GHz", "mu": "{debye}", "alpha": "{bohr3}", "homo": "{hartree}", "lumo": "{hartree}", "gap": "{hartree}",
	"r2": "{bohr2}", "zpve": "{hartree}", "u0": "{hartree}", "u298": "{hartree}", "h298": "{hartree}", "g298": "{hartree}", "cv": "cal/mol/K",
	"u0_atom": "kcal/mol", "u298_atom": "kcal/mol", "h298_atom": "kcal/mol", "g298_atom": "kcal/mol"}

func (o *organization) readMolecules() error {
	for _, read := range []func() error{o.readESOL, o.readQM9, o.readAIDS} {
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

func (o *organization) add(kind string, content any, links ...link) error {
	b, err := json.Marshal(content)
	if err == nil {
		o.Records = append(o.Records, entry{Kind: kind, By: "sara", Content: b, Links: links, bulk: true})
	}
	return err
}

func (o *organization) readESOL() error {
	_, rows, err := o.table(esolFile)
	if err != nil {
		return err
	}
	for _, r := range rows {
		err := o.add("structure", structure{Name: r["Compound ID"], SMILES: strings.TrimSpace(r["smiles"]), Weight: json.Number(r["Molecular Weight"]),
			Properties: []property{
				{"log solubility", json.Number(r["measured log solubility in mols per litre"]), logSolubility, "measured"},
				{"log solubility", json.Number(r["ESOL predicted log solubility in mols per litre"]), logSolubility, "predicted by ESOL"},
			}, Source: path.Base(esolFile)})
		if err != nil {
			return fmt.Errorf("%s: %w", esolFile, err)
		}
	}
	return nil
}

func (o *organization) readQM9() error {
	columns, rows, err := o.table(qm9Table)
	if err != nil {
		return err
	}
	b, err := embedded.ReadFile(o.at(qm9SDF))
	if err != nil {
		return err
	}
	formulas := map[string]string{}
	for molecule := range strings.SplitSeq(string(b), "$$$$\n") {
		if name, _, _ := strings.Cut(molecule, "\n"); name != "" {
			if formulas[name], err = formulaOf(molecule); err != nil {
				return fmt.Errorf("%s: %s: %w", qm9SDF, name, err)
			}
		}
	}
	for _, r := range rows {
		name := r["mol_id"]
		p := properties{Name: name + ": QM9 properties"}
		for _, column := range columns {
			if column != "mol_id" {
				p.Properties = append(p.Properties, property{Name: column, Value: json.Number(r[column]), Unit: qm9Units[column]})
			}
		}
		if err := o.add("structure", structure{Name: name, Formula: formulas[name], Source: path.Base(qm9SDF)}, link{File: qm9SDF, Relation: "described-in"}); err != nil {
			return err
		}
		if err := o.add("result", p, link{File: qm9Table, Relation: "output"}, link{To: "structure/" + name, Relation: "of"}); err != nil {
			return fmt.Errorf("%s: %w", qm9Table, err)
		}
	}
	return nil
}

func (o *organization) readAIDS() error {
	b, err := embedded.ReadFile(o.at(aidsSDF))
	if err != nil {
		return err
	}
	for molecule := range strings.SplitSeq(string(b), "$$$$\n") {
		data := sdfData(molecule)
		if data["NSC"] == "" {
			continue // behind the last one
		}
		s := structure{Name: "NSC " + data["NSC"], CAS: data["CAS_RN"], Identifiers: []identifier{{"NSC", data["NSC"]}}, Source: path.Base(aidsSDF)}
		if err := o.add("structure", s, link{File: aidsSDF, Relation: "described-in"}); err != nil {
			return err
		}
	}
	return nil
}

// formulaOf counts the atoms of a molfile (V2000), hydrogen among them, in the
// order of Hill: carbon, hydrogen, then by the alphabet. It is for files that
// write down every hydrogen, as those with geometries do.
func formulaOf(molecule string) (string, error) {
	lines := strings.Split(molecule, "\n")
	if len(lines) < 4 || len(lines[3]) < 3 {
		return "", errors.New("no line of counts")
	}
	atoms, err := strconv.Atoi(strings.TrimSpace(lines[3][:3]))
	if err != nil || atoms < 1 || len(lines) < 4+atoms {
		return "", errors.New("not as many atoms as the line of counts says")
	}
	count := map[string]int{}
	for _, l := range lines[4 : 4+atoms] {
		fields := strings.Fields(l)
		if len(fields) < 4 {
			return "", errors.New("an atom without a symbol")
		}
		count[fields[3]]++
	}
	symbols := slices.Sorted(maps.Keys(count))
	if count["C"] > 0 {
		symbols = slices.DeleteFunc(symbols, func(s string) bool { return s == "C" || s == "H" })
		symbols = append([]string{"C", "H"}, symbols...)
	}
	var b strings.Builder
	for _, s := range symbols {
		switch n := count[s]; {
		case n == 1:
			b.WriteString(s)
		case n > 1:
			b.WriteString(s + strconv.Itoa(n))
		}
	}
	return b.String(), nil
}

// sdfData reads the data items behind a structure: a line ">  <NAME>", and the
// value's first line below it.
func sdfData(molecule string) map[string]string {
	data := map[string]string{}
	lines := strings.Split(molecule, "\n")
	for i, l := range lines[:len(lines)-1] {
		if name, ok := strings.CutPrefix(l, ">  <"); ok {
			data[strings.TrimSuffix(name, ">")] = lines[i+1]
		}
	}
	return data
}

// table reads a CSV file: the names of its columns, and each row by them.
func (o *organization) table(file string) (columns []string, out []map[string]string, err error) {
	f, err := embedded.Open(o.at(file))
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, nil, fmt.Errorf("%s is not a table: %w", file, err)
	}
	for _, row := range rows[1:] {
		r := map[string]string{}
		for i, column := range rows[0] {
			r[column] = row[i]
		}
		out = append(out, r)
	}
	return rows[0], out, nil
}
