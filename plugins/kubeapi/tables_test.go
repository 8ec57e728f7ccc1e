package kubeapi_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/test/golden"
)

// row is a table of one object: what kubectl shows of it.
type row struct {
	Columns []string `json:"columns"`
	Cells   []any    `json:"cells"`
}

// TestTables compares columns and cells with those of kube-apiserver.
func TestTables(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "tables.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	expected := map[string]row{}
	if *record != "" {
		for _, o := range documents(t, string(raw)) {
			expected[title(o)] = recordRow(t, typeOf(t, o), o)
		}
		golden.Save(t, "tables.expected.yaml", expected)
	}
	golden.Load(t, "tables.expected.yaml", &expected)
	for _, o := range documents(t, string(raw)) {
		t.Run(title(o), func(t *testing.T) {
			want, ok := expected[title(o)]
			if !ok {
				t.Fatal("no expectation")
			}
			typ := typeOf(t, o)
			status := o["status"]
			r := newRequest(typ, o, nil, "")
			if err := write(t, typ, r); err != nil {
				t.Fatal(err)
			}
			if status != nil {
				r.Object["status"] = status
			}
			tree.Map(r.Object, "metadata")["creationTimestamp"] = "2026-01-01T00:00:00Z"
			got := ownRow(typ, r.Object)
			if a, b := strings.Join(got.Columns, " | "), strings.Join(want.Columns, " | "); a != b {
				t.Errorf("columns\n\t%s\nwant\n\t%s", a, b)
			}
			if a, b := line(got.Cells), line(want.Cells); a != b {
				t.Errorf("cells\n\t%s\nwant\n\t%s", a, b)
			}
		})
	}
}

var ago = regexp.MustCompile(`^(<unknown>|[0-9]+[smhdy][0-9smhdy]*)$|^20\d\d-\d\d-\d\dT[0-9:.]+Z$`)

func line(cells []any) string {
	var words []string
	for _, c := range cells {
		s := fmt.Sprint(c)
		if ago.MatchString(s) {
			s = "AGE"
		}
		s = regexp.MustCompile(`\([0-9a-z]+ ago\)`).ReplaceAllString(s, "(AGO)")
		words = append(words, s)
	}
	return strings.Join(words, " | ")
}

// ownRow is the row as the server makes it of a definition and its printer.
func ownRow(typ *registry.Type, o map[string]any) row {
	var r row
	cells := bundle.Hooks(typ.GVR.GroupResource()).(resource.Printer).Cells(o)
	named := false
	for _, c := range typ.Version.Columns {
		named = named || c.Name == "Name"
	}
	if !named {
		r.Columns = append(r.Columns, "Name")
		r.Cells = append(r.Cells, tree.Str(tree.Map(o, "metadata"), "name"))
	}
	for i, c := range typ.Version.Columns {
		r.Columns = append(r.Columns, column(c.Name, c.Type, c.Priority))
		r.Cells = append(r.Cells, cells[i])
	}
	return r
}

func column(name, typ string, priority int32) string {
	if typ != "string" {
		name += ":" + typ
	}
	if priority != 0 {
		name += fmt.Sprintf("/%d", priority)
	}
	return name
}

func recordRow(t *testing.T, typ *registry.Type, o map[string]any) row {
	t.Helper()
	ctx, p := context.Background(), newPeer(t)
	name := tree.Str(tree.Map(o, "metadata"), "name")
	resources := p.on(typ)
	status := o["status"]
	zero := int64(0)
	remove := func() {
		// Nobody there takes the finalizers of volumes away; errors show when it is made.
		_, _ = resources.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		_ = resources.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
	}
	remove()
	defer remove()
	made, err := resources.Create(ctx, &unstructured.Unstructured{Object: clone(t, o)}, metav1.CreateOptions{})
	if err != nil {
		t.Errorf("%s: %v", title(o), err)
		return row{}
	}
	if status != nil {
		made.Object["status"] = status
		made.SetResourceVersion("") // whoever else is there may have written to it
		if _, err := resources.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
			t.Errorf("%s: %v", title(o), err)
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", *record)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.UnversionedRESTClientFor(func() *rest.Config {
		c := rest.CopyConfig(config)
		c.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
		return c
	}())
	if err != nil {
		t.Fatal(err)
	}
	prefix := "/api/v1"
	if typ.GVR.Group != "" {
		prefix = "/apis/" + typ.GVR.Group + "/" + typ.GVR.Version
	}
	if typ.Definition.Namespaced() {
		prefix += "/namespaces/" + namespace
	}
	body, err := client.Get().AbsPath(prefix, typ.GVR.Resource, name).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Do(ctx).Raw()
	if err != nil {
		t.Fatal(err)
	}
	table := parse(t, string(body))
	var r row
	for _, v := range tree.List(table, "columnDefinitions") {
		c := tree.Object(v)
		r.Columns = append(r.Columns, column(tree.Str(c, "name"), tree.Str(c, "type"), int32(tree.Int0(c, "priority"))))
	}
	r.Cells = tree.List(tree.Object(tree.List(table, "rows")[0]), "cells")
	return r
}
