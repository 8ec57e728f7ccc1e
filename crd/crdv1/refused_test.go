package crdv1_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pintle-dev/pintle/crd/crdv1"
)

// What kube-apiserver 1.36.3 refuses is refused here, with the same fields, reasons and
// messages. The table was made by creating each definition there.
func TestRefusedAsUpstreamDoes(t *testing.T) {
	text, err := os.ReadFile("testdata/refused.json")
	if err != nil {
		t.Fatal(err)
	}
	var table []struct {
		Name   string
		CRD    json.RawMessage
		Causes []string // field|reason|message, sorted
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	if len(table) < 120 {
		t.Fatalf("only %d cases", len(table))
	}
	for _, test := range table {
		t.Run(test.Name, func(t *testing.T) {
			c := &apiextensionsv1.CustomResourceDefinition{}
			if err := json.Unmarshal(test.CRD, c); err != nil {
				t.Fatal(err)
			}
			crdv1.SetDefaults(c)
			crdv1.PrepareForCreate(c)
			var got []string
			for _, e := range crdv1.Validate(context.Background(), c, nil) {
				got = append(got, e.Field+"|"+string(e.Type)+"|"+e.ErrorBody())
			}
			slices.Sort(got)
			for _, want := range test.Causes {
				if !slices.Contains(got, want) {
					t.Errorf("missing:  %.400s", want)
				}
			}
			for _, have := range got {
				if !slices.Contains(test.Causes, have) {
					t.Errorf("too much: %.400s", have)
				}
			}
		})
	}
}
