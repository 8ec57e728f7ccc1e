// Package table makes meta.k8s.io Tables of objects, from printer columns as data or from
// a kind's own printer.
//
// It must not know kinds.
package table

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"github.com/tidwall/gjson"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/util/jsonpath"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Printer makes rows for the objects of one type.
type Printer struct {
	// Columns is the JSON of columnDefinitions.
	Columns []byte
	cells   []cell
	printer resource.Printer
	own     int // how many cells the kind's own printer gives
	before  int // cells before these
}

type cell func(tree map[string]any, now time.Time) any

// New prepares a printer. NAME comes first and AGE last, unless the columns have their
// own; columns that name the object themselves, or say when it was created, need no AGE,
// nor do those that are complete. printer may be nil.
func New(columns []crd.Column, complete bool, printer resource.Printer) (*Printer, error) {
	p := &Printer{printer: printer, own: len(columns)}
	var defs []metav1.TableColumnDefinition
	add := func(c crd.Column, content cell) {
		defs = append(defs, metav1.TableColumnDefinition{Name: c.Name, Type: c.Type, Format: c.Format, Description: c.Description, Priority: c.Priority})
		p.cells = append(p.cells, content)
	}
	has := func(name string) bool {
		for _, c := range columns {
			if strings.EqualFold(c.Name, name) {
				return true
			}
		}
		return false
	}
	if !has("name") {
		add(crd.Column{Name: "Name", Type: "string", Format: "name", Description: nameDescription},
			func(t map[string]any, _ time.Time) any { return jsontree.String(t, "metadata", "name") })
		p.before = 1
	}
	for _, c := range columns {
		content, err := column(c)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		add(c, content)
	}
	if !complete && !has("name") && !has("age") && !has("created at") {
		add(crd.Column{Name: "Age", Type: "string", Description: ageDescription}, age)
	}
	var err error
	p.Columns, err = json.Marshal(defs)
	return p, err
}

const (
	nameDescription = "Name of the object, unique among its type and namespace."
	ageDescription  = "Time since the object was created."
)

func age(t map[string]any, now time.Time) any {
	return since(jsontree.String(t, "metadata", "creationTimestamp"), now)
}

func since(stamp string, now time.Time) string {
	at, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(at))
}

func column(c crd.Column) (cell, error) {
	switch {
	case c.CEL != "":
		return celColumn(c.CEL)
	case c.JSONPath != "":
		return pathColumn(c)
	case strings.EqualFold(c.Name, "age"):
		return age, nil
	case strings.EqualFold(c.Name, "name"):
		return func(t map[string]any, _ time.Time) any { return jsontree.String(t, "metadata", "name") }, nil
	}
	return func(map[string]any, time.Time) any { return nil }, nil
}

func pathColumn(c crd.Column) (cell, error) {
	path := jsonpath.New(c.Name).AllowMissingKeys(true)
	text := c.JSONPath
	if !strings.HasPrefix(text, "{") {
		text = "{" + text + "}"
	}
	if err := path.Parse(text); err != nil {
		return nil, fmt.Errorf("jsonPath %q: %w", c.JSONPath, err)
	}
	date := c.Type == "date" || c.Format == "date"
	var mu sync.Mutex // a JSONPath keeps state while it is evaluated
	return func(t map[string]any, now time.Time) any {
		mu.Lock()
		results, err := path.FindResults(t)
		mu.Unlock()
		if err != nil || len(results) == 0 || len(results[0]) == 0 {
			return nil
		}
		var values []string
		for _, r := range results[0] {
			v := r.Interface()
			if len(results[0]) == 1 {
				switch v := v.(type) {
				case nil:
					return nil
				case string:
					if date {
						return since(v, now)
					}
					if c.Type == "string" {
						return v
					}
				case int64, float64, bool:
					if c.Type == "string" {
						return string(jsontree.Append(nil, v))
					}
					return v
				}
			}
			if s, ok := v.(string); ok {
				values = append(values, s)
			} else {
				values = append(values, string(jsontree.Append(nil, v)))
			}
		}
		return strings.Join(values, ",")
	}, nil
}

func celColumn(expression string) (cell, error) {
	env, err := cel.NewEnv(cel.Variable("self", cel.DynType), ext.Strings())
	if err != nil {
		return nil, fmt.Errorf("CEL: %w", err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, fmt.Errorf("CEL: %w", issues.Err())
	}
	program, err := env.Program(ast, cel.CostLimit(1_000_000))
	if err != nil {
		return nil, fmt.Errorf("CEL: %w", err)
	}
	return func(t map[string]any, _ time.Time) any {
		v, _, err := program.Eval(map[string]any{"self": t})
		if err != nil {
			return nil
		}
		return v.Value()
	}, nil
}

// Row appends one row. include is "None", "Metadata" or "Object" (the default is
// Metadata); metaVersion is that of the partial object, "v1".
func (p *Printer) Row(b, data []byte, now time.Time, include, metaVersion string) ([]byte, error) {
	o, err := jsontree.DecodeShared(data)
	if err != nil {
		return nil, fmt.Errorf("decode a stored object: %w", err)
	}
	cells := make([]any, len(p.cells))
	for i, c := range p.cells {
		if p.printer == nil || i < p.before || i >= p.before+p.own {
			cells[i] = c(o.Tree, now)
		}
	}
	if p.printer != nil {
		for i, v := range p.printer.Cells(o.Tree) {
			if i >= p.own {
				break
			}
			if v == nil {
				v = p.cells[p.before+i](o.Tree, now)
			}
			cells[p.before+i] = v
		}
	}
	b = append(b, `{"cells":`...)
	b = jsontree.Append(b, cells)
	b = append(b, `,"object":`...)
	switch include {
	case "None":
		b = append(b, "null"...)
	case "Object":
		b = append(b, data...)
	default:
		b = Partial(b, data, metaVersion)
	}
	return append(b, '}'), nil
}

// Partial appends an object's metadata as a PartialObjectMetadata.
func Partial(b, data []byte, metaVersion string) []byte {
	b = append(b, `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/`...)
	b = append(b, metaVersion...)
	b = append(b, `","metadata":`...)
	raw := gjson.GetBytes(data, "metadata").Raw
	if raw == "" {
		raw = "{}"
	}
	b = append(b, raw...)
	return append(b, '}')
}

// Begin appends the part of a table before its rows. Without columns the definitions are
// left out, as in all events of a watch but the first.
func (p *Printer) Begin(b []byte, metaVersion, listMeta string, columns bool) []byte {
	b = append(b, `{"kind":"Table","apiVersion":"meta.k8s.io/`...)
	b = append(b, metaVersion...)
	b = append(b, `","metadata":`...)
	b = append(b, listMeta...)
	b = append(b, `,"columnDefinitions":`...)
	if columns && !bytes.Equal(p.Columns, []byte("null")) {
		b = append(b, p.Columns...)
	} else {
		b = append(b, "null"...)
	}
	return append(b, `,"rows":[`...)
}
