package cache

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestProject(t *testing.T) {
	const object = `{"kind":"Pod","metadata":{"name":"a","namespace":"n","labels":{"a.b":"c","x":"y"},"managedFields":[{"f":1}]},
		"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"},{"image":"j","env":[{"name":"E"}]}],"empty":null},"status":{"phase":"\"q\""}}`
	for _, tc := range []struct {
		fields, want string
	}{
		{"", `{"metadata":{"name":"a","namespace":"n"}}`},
		{"spec.nodeName", `{"metadata":{"name":"a","namespace":"n"},"spec":{"nodeName":"n1"}}`},
		{"spec.containers.image", `{"metadata":{"name":"a","namespace":"n"},"spec":{"containers":[{"image":"i"},{"image":"j"}]}}`},
		{`metadata.labels.a\.b`, `{"metadata":{"name":"a","namespace":"n","labels":{"a.b":"c"}}}`},
		{"metadata.labels,metadata.labels.x", `{"metadata":{"name":"a","namespace":"n","labels":{"a.b":"c","x":"y"}}}`},
		{"status.phase,spec.empty.x,spec.none", `{"metadata":{"name":"a","namespace":"n"},"spec":{"empty":null},"status":{"phase":"\"q\""}}`},
		{"spec.nodeName.below", `{"metadata":{"name":"a","namespace":"n"},"spec":{"nodeName":"n1"}}`},
	} {
		var paths []string
		if tc.fields != "" {
			paths = strings.Split(tc.fields, ",")
		}
		f, err := parseFields(paths)
		if err != nil {
			t.Fatal(err)
		}
		got, err := project(nil, object, f)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tc.fields, err, got, tc.want)
		}
	}
	if _, err := project(nil, "[]", identity()); err == nil {
		t.Error("a list was taken for an object")
	}
}

// What a type reads of an object is the same, whether it reads all or what was cut out for it.
func TestFieldsOfTypes(t *testing.T) {
	pod := `{"metadata":{"name":"a","uid":"u","creationTimestamp":"2026-01-02T03:04:05Z","ownerReferences":[{"name":"o","controller":true}],
		"managedFields":[{"manager":"m"}]},"spec":{"nodeName":"n","containers":[{"name":"c","resources":{"requests":{"cpu":"100m"}},
		"ports":[{"containerPort":80}]}]},"status":{"podIP":"10.0.0.1","startTime":"2026-01-02T03:04:05Z"}}`
	type own struct {
		Metadata struct {
			Name, UID string
			Skipped   string `json:"-"`
		}
		Spec struct {
			NodeName   string
			Containers []struct {
				Resources corev1.ResourceRequirements `json:"resources"`
			}
		}
		Status struct {
			PodIP string
		}
	}
	for _, into := range []any{&own{}, &corev1.Pod{}, &map[string]any{}} {
		typ := reflect.TypeOf(into).Elem()
		cut, err := project(nil, pod, fieldsOf(typ))
		if err != nil {
			t.Fatal(err)
		}
		all, some := reflect.New(typ), reflect.New(typ)
		if err := json.Unmarshal([]byte(pod), all.Interface()); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(cut, some.Interface()); err != nil {
			t.Fatal(err)
		}
		if p, ok := all.Interface().(*corev1.Pod); ok {
			p.ManagedFields = nil // left out
		}
		if !reflect.DeepEqual(all.Interface(), some.Interface()) {
			t.Errorf("%s:\n all %+v\n cut %+v\nfrom %s", typ, all.Elem(), some.Elem(), cut)
		}
	}
	if f := fieldsOf(reflect.TypeFor[own]()); f.all || f.below["spec"].below["containers"].below["ports"] != nil {
		t.Error("fields that nobody reads")
	}
}

func TestFieldSets(t *testing.T) {
	a, _ := parseFields([]string{"spec.a", "status"})
	b, _ := parseFields([]string{"spec.b", "status.phase"})
	if !a.add(b) || a.add(b) {
		t.Error("a union grows once")
	}
	if !a.below["status"].all || a.below["spec"].below["b"] == nil {
		t.Errorf("%+v", a)
	}
	for name, want := range map[string]string{"NodeName": "nodeName", "UID": "uid", "IPFamily": "ipFamily", "PodIP": "podIP", "X": "x"} {
		if got := lowerFirst(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
