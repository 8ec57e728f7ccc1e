package table

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

type fixed []any

func (f fixed) Cells(map[string]any) []any { return f }

func TestRows(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)
	object := []byte(`{"apiVersion":"v1","kind":"X","metadata":{"creationTimestamp":"2026-01-02T03:04:00Z","name":"n"},` +
		`"spec":{"list":[{"v":"a"},{"v":"b"}],"n":3,"on":true,"when":"2026-01-02T03:00:00Z"}}`)
	col := func(name, kind, path string) crd.Column { return crd.Column{Name: name, Type: kind, JSONPath: path} }
	for _, c := range []struct {
		name    string
		columns []crd.Column
		printer resource.Printer
		full    bool
		heads   string
		cells   string
	}{
		{"none", nil, nil, false, "[Name Age]", "[n 60s]"},
		{"paths", []crd.Column{col("N", "integer", ".spec.n"), col("On", "boolean", ".spec.on"), col("Text", "string", ".spec.n"), col("None", "string", ".spec.none")},
			nil, false, "[Name N On Text None Age]", "[n 3 true 3 <nil> 60s]"},
		{"list", []crd.Column{col("L", "string", ".spec.list[*].v")}, nil, false, "[Name L Age]", "[n a,b 60s]"},
		{"date", []crd.Column{col("When", "date", ".spec.when")}, nil, false, "[Name When Age]", "[n 5m 60s]"},
		{"own age", []crd.Column{{Name: "Age", Type: "string"}, col("N", "integer", ".spec.n")}, nil, false, "[Name Age N]", "[n 60s 3]"},
		{"cel", []crd.Column{{Name: "C", Type: "string", CEL: `string(size(self.spec.list)) + "/" + string(self.spec.n)`}}, nil, false, "[Name C Age]", "[n 2/3 60s]"},
		{"printer", []crd.Column{{Name: "A", Type: "string"}, {Name: "Age", Type: "string"}, {Name: "B", Type: "string"}}, fixed{"a", nil, "b"}, false, "[Name A Age B]", "[n a 60s b]"},
		{"no age", []crd.Column{col("N", "integer", ".spec.n")}, nil, true, "[Name N]", "[n 3]"},
		{"complete", []crd.Column{{Name: "Last Seen", Type: "string"}, {Name: "Name", Type: "string"}}, fixed{"now", nil}, false, "[Last Seen Name]", "[now n]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := New(c.columns, c.full, c.printer)
			if err != nil {
				t.Fatal(err)
			}
			b := p.Begin(nil, "v1", `{}`, true)
			if b, err = p.Row(b, object, now, "Metadata", "v1"); err != nil {
				t.Fatal(err)
			}
			var table metav1.Table
			if err := json.Unmarshal(append(b, `]}`...), &table); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
			var heads []string
			for _, h := range table.ColumnDefinitions {
				heads = append(heads, h.Name)
			}
			if fmt.Sprint(heads) != c.heads || fmt.Sprint(table.Rows[0].Cells) != c.cells {
				t.Errorf("%v %v", heads, table.Rows[0].Cells)
			}
		})
	}
	if _, err := New([]crd.Column{col("Bad", "string", ".spec[")}, false, nil); err == nil {
		t.Error("a path that is none was accepted")
	}
}
