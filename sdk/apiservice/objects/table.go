package objects

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// table makes rows of objects; include is what of an object comes along.
func (s *Store) table(items []*item, include string, columns bool) (*metav1.Table, error) {
	t := &metav1.Table{
		TypeMeta: metav1.TypeMeta{APIVersion: metav1.SchemeGroupVersion.String(), Kind: "Table"},
		Rows:     []metav1.TableRow{},
	}
	if columns {
		t.ColumnDefinitions = append([]metav1.TableColumnDefinition{{
			Name: "Name", Type: "string", Format: "name", Description: "Name of the object, unique within its namespace.",
		}}, s.t.Columns...)
	}
	for _, it := range items {
		row := metav1.TableRow{Cells: []any{it.object.GetName()}}
		if s.t.Cells != nil {
			row.Cells = append(row.Cells, s.t.Cells(it.object)...)
		}
		as := partial
		switch metav1.IncludeObjectPolicy(include) {
		case metav1.IncludeNone:
			t.Rows = append(t.Rows, row)
			continue
		case metav1.IncludeObject:
			as = whole
		}
		data, err := s.show(it, as)
		if err != nil {
			return nil, err
		}
		row.Object = runtime.RawExtension{Raw: data}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}
