package main

import (
	"testing"

	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

// The suite of plugintest holds the plugin to what every host relies on, and to what is said here
// of some requests.
func TestAuthorizationContract(t *testing.T) {
	of := func(verb, resource, namespace, name string, groups ...string) authorization.Attributes {
		a := authorization.Attributes{Verb: verb, Version: "v1", Resource: resource, Namespace: namespace, Name: name}
		a.User.Name, a.User.Groups = "ann", groups
		return a
	}
	plugintest.RunAuthorization(t, plugintest.AuthorizationCase{
		Case: plugintest.Case{
			Settings:    []byte(`{"protected":["prod"],"group":"keepers"}`),
			BadSettings: map[string]string{`{"group":""}`: "settings.group"},
		},
		New: func() authorization.Authorizer { return &Plugin{} },
		Decisions: map[string]plugintest.AccessDecision{
			"deletes there":         {Attributes: of("delete", "pods", "prod", "a"), Want: authorization.Deny, Reason: "prod is protected"},
			"deletes all there":     {Attributes: of("deletecollection", "pods", "prod", ""), Want: authorization.Deny, Reason: "keepers"},
			"deletes the namespace": {Attributes: of("delete", "namespaces", "", "prod"), Want: authorization.Deny, Reason: "prod is protected"},
			"reads there":           {Attributes: of("get", "pods", "prod", "a")},
			"deletes elsewhere":     {Attributes: of("delete", "pods", "test", "a")},
			"is a keeper":           {Attributes: of("delete", "pods", "prod", "a", "keepers")},
		},
	})
}
