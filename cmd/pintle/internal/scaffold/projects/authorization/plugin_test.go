package main

import (
	"testing"

	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func TestAuthorize(t *testing.T) {
	p := &Plugin{}
	if err := p.Configure(t.Context(), []byte(`{"protected":["prod"],"group":"keepers"}`)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		a    authorization.Attributes
		want authorization.Decision
	}{
		{"deletes there", authorization.Attributes{Verb: "delete", Resource: "pods", Namespace: "prod", Name: "a"}, authorization.Deny},
		{"deletes all there", authorization.Attributes{Verb: "deletecollection", Resource: "pods", Namespace: "prod"}, authorization.Deny},
		{"deletes the namespace", authorization.Attributes{Verb: "delete", Resource: "namespaces", Name: "prod"}, authorization.Deny},
		{"reads there", authorization.Attributes{Verb: "get", Resource: "pods", Namespace: "prod"}, authorization.NoOpinion},
		{"deletes elsewhere", authorization.Attributes{Verb: "delete", Resource: "pods", Namespace: "test"}, authorization.NoOpinion},
		{"is a keeper", authorization.Attributes{Verb: "delete", Resource: "pods", Namespace: "prod", User: resource.User{Groups: []string{"keepers"}}}, authorization.NoOpinion},
	} {
		got, reason, err := p.Authorize(t.Context(), tc.a)
		if err != nil || got != tc.want || (reason == "") != (tc.want == authorization.NoOpinion) {
			t.Errorf("%s: %s, %q, %v", tc.name, got, reason, err)
		}
	}
}
