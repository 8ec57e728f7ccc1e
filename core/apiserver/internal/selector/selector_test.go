package selector

import "testing"

func TestMatches(t *testing.T) {
	data := []byte(`{"metadata":{"labels":{"app":"web","a.b/c":"1"},"name":"n","namespace":"ns"},"spec":{"nodeName":"x","on":true}}`)
	known := func(f string) (string, bool) {
		if f == "where" {
			return "spec.none,spec.nodeName", true
		}
		return f, f == "spec.nodeName" || f == "spec.on" || f == "spec.none"
	}
	for _, c := range []struct {
		labels, fields string
		want           bool
	}{
		{"", "", true},
		{"app=web", "", true},
		{"app=web,a.b/c in (1,2)", "", true},
		{"app!=web", "", false},
		{"!app", "", false},
		{"other!=x", "", true},
		{"app", "spec.nodeName=x", true},
		{"", "spec.nodeName!=x", false},
		{"", "spec.nodeName=y", false},
		{"", "spec.on=true,metadata.name=n,metadata.namespace=ns", true},
		{"", "spec.none=", true},
		{"", "where=x", true},
		{"", "where!=x", false},
		{"", "spec.none=false", true},
		{"", "spec.none!=", false},
	} {
		s, err := Parse(c.labels, c.fields, known)
		if err != nil {
			t.Fatalf("%q %q: %v", c.labels, c.fields, err)
		}
		if got := s.Matches(data); got != c.want {
			t.Errorf("%q %q: %t", c.labels, c.fields, got)
		}
	}
	for _, bad := range [][2]string{{"a in", ""}, {"", "spec.other=1"}, {"", "spec.nodeName"}} {
		if _, err := Parse(bad[0], bad[1], known); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
