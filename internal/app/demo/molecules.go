package demo

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path"
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
	Name      string      `json:"name"`
	SMILES    string      `json:"smiles,omitempty"`
	NSC       string      `json:"nsc,omitempty"`
	CAS       string      `json:"cas,omitempty"`
	Weight    json.Number `json:"molecular_weight,omitempty"`
	Measured  json.Number `json:"measured_log_solubility,omitempty"`
	Predicted json.Number `json:"predicted_log_solubility,omitempty"`
	Source    string      `json:"source"`
}

type properties struct {
	Name       string                 `json:"name"`
	Properties map[string]json.Number `json:"properties"`
}

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
	rows, err := o.table(esolFile)
	if err != nil {
		return err
	}
	for _, r := range rows {
		err := o.add("structure", structure{Name: r["Compound ID"], SMILES: strings.TrimSpace(r["smiles"]), Weight: json.Number(r["Molecular Weight"]),
			Measured: json.Number(r["measured log solubility in mols per litre"]), Predicted: json.Number(r["ESOL predicted log solubility in mols per litre"]), Source: path.Base(esolFile)})
		if err != nil {
			return fmt.Errorf("%s: %w", esolFile, err)
		}
	}
	return nil
}

func (o *organization) readQM9() error {
	rows, err := o.table(qm9Table)
	if err != nil {
		return err
	}
	for _, r := range rows {
		name := r["mol_id"]
		delete(r, "mol_id")
		p := properties{Name: name + ": QM9 properties", Properties: map[string]json.Number{}}
		for column, value := range r {
			p.Properties[column] = json.Number(value)
		}
		if err := o.add("structure", structure{Name: name, Source: path.Base(qm9SDF)}, link{File: qm9SDF, Relation: "described in"}); err != nil {
			return err
		}
		if err := o.add("result", p, link{File: qm9Table, Relation: "table"}, link{To: "structure/" + name, Relation: "of"}); err != nil {
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
		s := structure{Name: "NSC " + data["NSC"], NSC: data["NSC"], CAS: data["CAS_RN"], Source: path.Base(aidsSDF)}
		if err := o.add("structure", s, link{File: aidsSDF, Relation: "described in"}); err != nil {
			return err
		}
	}
	return nil
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

// table reads a CSV file with its column names.
func (o *organization) table(file string) ([]map[string]string, error) {
	f, err := embedded.Open(o.at(file))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("%s is not a table: %w", file, err)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		r := map[string]string{}
		for i, column := range rows[0] {
			r[column] = row[i]
		}
		out = append(out, r)
	}
	return out, nil
}
